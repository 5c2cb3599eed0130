-- migrate:up

-- The schemas, and who may do what in them. Roles are made before the first
-- migration, outside of it, because they belong to the whole cluster; where the
-- login may not make them there is one role for everything, and no grant.
-- Schema manti exists already: it holds the record of the migrations.

CREATE SCHEMA ledger;
CREATE SCHEMA projections;
CREATE SCHEMA escrow;
CREATE SCHEMA audit;
CREATE SCHEMA river;

-- manti.allow('writer', 'SELECT, INSERT', 'TABLE ledger.events') is a GRANT to
-- manti_writer if the current role owns the schema for the separated roles, and
-- nothing otherwise. Migrations grant through it alone.
CREATE FUNCTION manti.allow(role text, privileges text, target text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'manti_owner' THEN
        EXECUTE format('GRANT %s ON %s TO %I', privileges, target, 'manti_' || role);
    END IF;
END
$$;

-- manti.deny is the REVOKE to manti.allow; the role may also be 'public'.
CREATE FUNCTION manti.deny(role text, privileges text, target text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF role = 'public' THEN
        EXECUTE format('REVOKE %s ON %s FROM PUBLIC', privileges, target);
    ELSIF current_user = 'manti_owner' THEN
        EXECUTE format('REVOKE %s ON %s FROM %I', privileges, target, 'manti_' || role);
    END IF;
END
$$;

SELECT manti.allow('writer', 'USAGE', 'SCHEMA manti, ledger, projections, escrow, audit, river');
SELECT manti.allow('reader', 'USAGE', 'SCHEMA manti, ledger, projections, escrow');
SELECT manti.allow('auditor', 'USAGE', 'SCHEMA manti, ledger, projections, escrow, audit');
SELECT manti.allow('writer', 'SELECT', 'TABLE manti.schema_migrations');
SELECT manti.allow('reader', 'SELECT', 'TABLE manti.schema_migrations');
SELECT manti.allow('auditor', 'SELECT', 'TABLE manti.schema_migrations');

-- What later tables start with. The ledger's are granted one by one, in its own migration.
DO $$
BEGIN
    IF current_user <> 'manti_owner' THEN
        RETURN;
    END IF;
    ALTER DEFAULT PRIVILEGES IN SCHEMA projections GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO manti_writer;
    ALTER DEFAULT PRIVILEGES IN SCHEMA projections GRANT USAGE, SELECT ON SEQUENCES TO manti_writer;
    ALTER DEFAULT PRIVILEGES IN SCHEMA projections GRANT SELECT ON TABLES TO manti_reader, manti_auditor;
    ALTER DEFAULT PRIVILEGES IN SCHEMA escrow GRANT SELECT, INSERT, UPDATE ON TABLES TO manti_writer;
    ALTER DEFAULT PRIVILEGES IN SCHEMA escrow GRANT USAGE, SELECT ON SEQUENCES TO manti_writer;
    ALTER DEFAULT PRIVILEGES IN SCHEMA escrow GRANT SELECT ON TABLES TO manti_reader, manti_auditor;
    ALTER DEFAULT PRIVILEGES IN SCHEMA audit GRANT SELECT ON TABLES TO manti_writer, manti_auditor;
    ALTER DEFAULT PRIVILEGES IN SCHEMA river GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO manti_writer;
    ALTER DEFAULT PRIVILEGES IN SCHEMA river GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO manti_writer;
END
$$;

-- migrate:down

DO $$
BEGIN
    IF current_user <> 'manti_owner' THEN
        RETURN;
    END IF;
    REVOKE ALL ON TABLE manti.schema_migrations FROM manti_writer, manti_reader, manti_auditor;
    REVOKE ALL ON SCHEMA manti FROM manti_writer, manti_reader, manti_auditor;
END
$$;

DROP SCHEMA river;
DROP SCHEMA audit;
DROP SCHEMA escrow;
DROP SCHEMA projections;
DROP SCHEMA ledger;
DROP FUNCTION manti.deny(text, text, text);
DROP FUNCTION manti.allow(text, text, text);
