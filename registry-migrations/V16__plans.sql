-- What a company's contract is called, where operators have names for weights.
ALTER TABLE tenants ADD plan text CHECK (plan ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$');
