-- NOTIFY goes through one queue of the whole server, which anybody on it can fill: then every transaction that rings fails. A
-- bell is a hint, and whoever waits for one also looks now and then: so nobody rings while the queue is half full.
CREATE FUNCTION ring(channel text, payload text) RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    IF pg_catalog.pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_catalog.pg_notify(channel, payload);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION route_changed(tenant uuid) RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    now_at bigint;
BEGIN
    UPDATE public.route_clock SET value = value + 1 RETURNING value INTO now_at;
    INSERT INTO public.route_log (clock, tenant_id) VALUES (now_at, tenant);
    UPDATE public.tenants SET generation = generation + 1 WHERE id = tenant;
    PERFORM public.ring('portero_routes', now_at::text);
    RETURN now_at;
END
$$;
