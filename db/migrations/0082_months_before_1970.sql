-- migrate:up

-- No id has a time before 1970, so no month before it has a partition: a server
-- whose clock is at the epoch, for want of a battery, goes on.
CREATE OR REPLACE FUNCTION ledger.make_ids_partition(month timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    begins timestamp := date_trunc('month', month AT TIME ZONE 'UTC');
    part   text := 'ids_' || to_char(begins, 'YYYY_MM');
    lower  uuid;
    upper  uuid;
BEGIN
    IF begins < '1970-01-01' THEN
        RETURN;
    END IF;
    lower := (lpad(to_hex((extract(epoch FROM begins) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
    upper := (lpad(to_hex((extract(epoch FROM begins + interval '1 month') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
    -- What the default partition has of a month stays there, and so does the rest of the month.
    IF to_regclass('ledger.' || part) IS NOT NULL OR EXISTS (SELECT FROM ledger.ids_default WHERE id >= lower AND id < upper) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.ids INCLUDING CONSTRAINTS) WITH (
        autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000)', part);
    EXECUTE format('ALTER TABLE ledger.ids ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)', part, lower, upper);
    PERFORM ledger.guard(part::name, '');
END
$$;

-- migrate:down

CREATE OR REPLACE FUNCTION ledger.make_ids_partition(month timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    begins timestamp := date_trunc('month', month AT TIME ZONE 'UTC');
    part   text := 'ids_' || to_char(begins, 'YYYY_MM');
    lower  uuid := (lpad(to_hex((extract(epoch FROM begins) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
    upper  uuid := (lpad(to_hex((extract(epoch FROM begins + interval '1 month') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
BEGIN
    IF to_regclass('ledger.' || part) IS NOT NULL OR EXISTS (SELECT FROM ledger.ids_default WHERE id >= lower AND id < upper) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.ids INCLUDING CONSTRAINTS) WITH (
        autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000)', part);
    EXECUTE format('ALTER TABLE ledger.ids ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)', part, lower, upper);
    PERFORM ledger.guard(part::name, '');
END
$$;
