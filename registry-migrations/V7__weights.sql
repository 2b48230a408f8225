-- A company's part of a server that is short of connections, beside others that wait: twice the weight, twice the turns.
ALTER TABLE tenants ADD weight smallint NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100);
