-- migrate:up

-- A rebuild makes tables anew: they take over the rights on the old ones, those
-- that an operator gave or took included.

CREATE FUNCTION projections.copy_rights(source regclass, target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    -- What default privileges gave.
    FOR r IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = target AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', target, r.grantee);
    END LOOP;
    FOR r IN
        SELECT a.privilege_type || COALESCE(' (' || quote_ident(a.attname) || ')', '') AS privilege,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
            CASE WHEN bool_or(a.is_grantable) THEN 'WITH GRANT OPTION' ELSE '' END AS options
        FROM pg_class c, LATERAL (
            SELECT NULL::name AS attname, t.* FROM aclexplode(c.relacl) t
            UNION ALL
            SELECT k.attname, t.* FROM pg_attribute k, aclexplode(k.attacl) t WHERE k.attrelid = c.oid AND NOT k.attisdropped
        ) a
        WHERE c.oid = source AND a.grantee <> c.relowner
        GROUP BY a.privilege_type, a.attname, a.grantee
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s %s', r.privilege, target, r.grantee, r.options);
    END LOOP;
END
$$;
COMMENT ON FUNCTION projections.copy_rights(regclass, regclass) IS 'Gives everybody but the owner the rights on target that they have on source, table and columns, and no others. All are granted by the current role, who must own target.';
SELECT manti.deny('public', 'EXECUTE', 'FUNCTION projections.copy_rights(regclass, regclass)');

CREATE OR REPLACE FUNCTION projections.make_shadow(tbl name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    live    regclass := to_regclass(format('projections.%I', tbl));
    options text     := (SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = live);
BEGIN
    IF live IS NULL OR tbl = 'checkpoints' OR tbl LIKE 'shadow\_%' THEN
        RAISE EXCEPTION 'projections.% cannot have a shadow', tbl USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS projections.%I', 'shadow_' || tbl);
    EXECUTE format('CREATE TABLE projections.%I (LIKE projections.%I INCLUDING ALL) %s', 'shadow_' || tbl, tbl,
        CASE WHEN options <> '' THEN format('WITH (%s)', options) END);
    EXECUTE format('COMMENT ON TABLE projections.%I IS %L', 'shadow_' || tbl, obj_description(live, 'pg_class'));
    PERFORM projections.copy_rights(live, to_regclass(format('projections.%I', 'shadow_' || tbl)));
END
$$;

CREATE OR REPLACE FUNCTION projections.swap_shadow(tbl name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shadow regclass := to_regclass(format('projections.%I', 'shadow_' || tbl));
BEGIN
    IF tbl = 'checkpoints' OR shadow IS NULL THEN
        RAISE EXCEPTION 'projections.% has no shadow', tbl USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('LOCK TABLE projections.%I IN ACCESS EXCLUSIVE MODE', tbl);
    PERFORM projections.copy_rights(to_regclass(format('projections.%I', tbl)), shadow); -- once more: rights may have been given meanwhile
    EXECUTE format('DROP TABLE projections.%I', tbl);
    EXECUTE format('ALTER TABLE projections.%I RENAME TO %I', 'shadow_' || tbl, tbl);
END
$$;

-- What recognises a key is private: the reader has every other column. One that
-- is added has to be granted.
DO $$
BEGIN
    IF current_user = 'manti_owner' THEN
        REVOKE SELECT ON projections.keys FROM manti_reader;
        GRANT SELECT (id, org_id, project_id, user_id, service_id, hint, issued_at, issued_by, index, expires_at, revoked_at, revoked_by)
            ON projections.keys TO manti_reader;
    END IF;
END
$$;

-- migrate:down

DO $$
BEGIN
    IF current_user = 'manti_owner' THEN
        REVOKE SELECT ON projections.keys FROM manti_reader;
        GRANT SELECT ON projections.keys TO manti_reader;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION projections.swap_shadow(tbl name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tbl = 'checkpoints' OR to_regclass(format('projections.%I', 'shadow_' || tbl)) IS NULL THEN
        RAISE EXCEPTION 'projections.% has no shadow', tbl USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE projections.%I', tbl);
    EXECUTE format('ALTER TABLE projections.%I RENAME TO %I', 'shadow_' || tbl, tbl);
END
$$;

CREATE OR REPLACE FUNCTION projections.make_shadow(tbl name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    live    regclass := to_regclass(format('projections.%I', tbl));
    options text     := (SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = live);
BEGIN
    IF live IS NULL OR tbl = 'checkpoints' OR tbl LIKE 'shadow\_%' THEN
        RAISE EXCEPTION 'projections.% cannot have a shadow', tbl USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS projections.%I', 'shadow_' || tbl);
    EXECUTE format('CREATE TABLE projections.%I (LIKE projections.%I INCLUDING ALL) %s', 'shadow_' || tbl, tbl,
        CASE WHEN options <> '' THEN format('WITH (%s)', options) END);
    EXECUTE format('COMMENT ON TABLE projections.%I IS %L', 'shadow_' || tbl, obj_description(live, 'pg_class'));
END
$$;

DROP FUNCTION projections.copy_rights(regclass, regclass);
