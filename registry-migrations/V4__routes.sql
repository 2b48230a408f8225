-- What routers need to hear: each change of a route takes the next value of one clock.
--
-- The clock's row stays locked until the change commits, so values become visible in their order and without gaps.
CREATE TABLE route_clock (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    value  bigint  NOT NULL
);

INSERT INTO route_clock (value) VALUES (0);

CREATE TABLE route_log (
    clock      bigint      PRIMARY KEY,
    tenant_id  uuid        NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- Called in the transaction of every change to a tenant's route, its removal too.
CREATE FUNCTION route_changed(tenant uuid) RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    now_at bigint;
BEGIN
    UPDATE public.route_clock SET value = value + 1 RETURNING value INTO now_at;
    INSERT INTO public.route_log (clock, tenant_id) VALUES (now_at, tenant);
    UPDATE public.tenants SET generation = generation + 1 WHERE id = tenant;
    PERFORM pg_notify('portero_routes', now_at::text);
    RETURN now_at;
END
$$;
