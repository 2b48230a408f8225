-- A company whose making is being undone is nobody's, and never will be anybody's: its row stays until what was made of it
-- is gone, or for as long as a person is needed, and routers don't show it meanwhile. So they hear when its job turns back.
CREATE FUNCTION making_turned() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM public.route_changed(NEW.tenant_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_making_turned AFTER UPDATE OF status ON jobs
    FOR EACH ROW
    WHEN (NEW.kind = 'create_tenant' AND OLD.status IN ('running', 'stuck') AND NEW.status IN ('undoing', 'abandoned'))
    EXECUTE FUNCTION making_turned();
