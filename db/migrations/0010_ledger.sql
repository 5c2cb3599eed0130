-- migrate:up

-- The ledger: events that are never changed, and what is needed to append and
-- read them. Everything here but head, spools and the deletions of erasable
-- only grows. Three things see to that: the grants, triggers that fire for the
-- owner too and under session_replication_role = replica, and signed
-- checkpoints outside of the database for whoever passes both.

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on ledger.% is refused: the ledger only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION ledger.refuse_change() IS 'Refuses whatever it is the trigger of.';

CREATE FUNCTION ledger.move_head() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.shard <> OLD.shard OR NEW.size < OLD.size OR NEW.recorded_at < OLD.recorded_at THEN
        RAISE EXCEPTION 'ledger.head may only move forward' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION ledger.move_head() IS 'Keeps the head from going back.';

-- ledger.guard('events', 'UPDATE OR DELETE') gives a table triggers that refuse
-- these and TRUNCATE. Row triggers pass on to partitions, TRUNCATE triggers
-- don't: each partition is guarded by itself.
CREATE FUNCTION ledger.guard(tbl name, operations text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF operations <> '' THEN
        EXECUTE format('CREATE TRIGGER refuse_change BEFORE %s ON ledger.%I FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change()', operations, tbl);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER refuse_change', tbl);
    END IF;
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger.%I FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', tbl);
    EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER refuse_truncate', tbl);
END
$$;
COMMENT ON FUNCTION ledger.guard(name, text) IS 'Gives a table of the ledger the triggers that refuse changes.';

CREATE TABLE ledger.head (
    shard       smallint    PRIMARY KEY CHECK (shard >= 0),
    size        bigint      NOT NULL CHECK (size >= 0),
    recorded_at timestamptz NOT NULL,
    frozen      boolean     NOT NULL DEFAULT false,
    reason      text        CHECK (frozen OR reason IS NULL)
);
COMMENT ON TABLE ledger.head IS 'One row per shard of the ledger; there is one, 0. Whoever appends locks it first, so that indexes have no gap and are visible in their order.';
COMMENT ON COLUMN ledger.head.size IS 'Number of events: the index of the next one.';
COMMENT ON COLUMN ledger.head.recorded_at IS 'When the last batch was recorded. The next one is later by at least 1 µs, whatever the clock says.';
COMMENT ON COLUMN ledger.head.frozen IS 'True stops all appends; reason says why.';
INSERT INTO ledger.head (shard, size, recorded_at) VALUES (0, 0, 'epoch');
CREATE TRIGGER move_head BEFORE UPDATE ON ledger.head FOR EACH ROW EXECUTE FUNCTION ledger.move_head();
ALTER TABLE ledger.head ENABLE ALWAYS TRIGGER move_head;
SELECT ledger.guard('head', 'DELETE');

-- Fixed widths first, by falling alignment, then what varies, the longest last.
CREATE TABLE ledger.events (
    index           bigint      NOT NULL,
    recorded_at     timestamptz NOT NULL,
    at              timestamptz NOT NULL,
    id              uuid        NOT NULL,
    request_id      uuid,
    supersedes      uuid,
    org_id          uuid,
    project_id      uuid,
    key_id          uuid,
    user_id         uuid,
    service_id      uuid,
    credential_id   uuid,
    cost_price      uuid,
    charge_price    uuid,
    spool_id        uuid,
    spool_epoch     bigint,
    first_byte_at   timestamptz,
    first_token_at  timestamptz,
    ended_at        timestamptz,
    input           bigint,
    input_audio     bigint,
    input_image     bigint,
    cache_read      bigint,
    cache_write_5m  bigint,
    cache_write_1h  bigint,
    output          bigint,
    reasoning       bigint,
    output_audio    bigint,
    output_image    bigint,
    web_search      bigint,
    file_search     bigint,
    v               smallint    NOT NULL,
    status          smallint,
    attempts        smallint,
    control         boolean     NOT NULL,
    stream          boolean,
    kind            text        NOT NULL,
    author          text,
    dialect         text,
    endpoint        text,
    asked_model     text,
    model           text,
    provider        text,
    host            text,
    region          text,
    provider_request_id text,
    tier            text,
    outcome         text,
    error           text,
    provenance      text,
    estimator       text,
    cost            numeric,
    cost_currency   text,
    charge          numeric,
    charge_currency text,
    held            numeric,
    route_version   text,
    config_version  text,
    replica         text,
    flags           text[],
    leaf            bytea       NOT NULL,
    canonical       bytea       NOT NULL,
    private_salt    bytea,
    private         bytea,
    PRIMARY KEY (index),
    CONSTRAINT events_index CHECK (index >= 0),
    CONSTRAINT events_leaf CHECK (octet_length(leaf) = 32),
    CONSTRAINT events_private CHECK ((private IS NULL) = (private_salt IS NULL) AND octet_length(private_salt) = 16),
    -- 'Infinity' and 'NaN' sort behind every number.
    CONSTRAINT events_cost CHECK (cost >= 0 AND cost < 'Infinity' AND scale(cost) <= 18),
    CONSTRAINT events_charge CHECK (charge >= 0 AND charge < 'Infinity' AND scale(charge) <= 18),
    CONSTRAINT events_held CHECK (held > 0 AND held < 'Infinity' AND scale(held) <= 18),
    CONSTRAINT events_cost_currency CHECK ((cost IS NULL) = (cost_currency IS NULL) AND cost_currency ~ '^[A-Z]{3}$'),
    CONSTRAINT events_charge_currency CHECK ((charge IS NULL) = (charge_currency IS NULL) AND charge_currency ~ '^[A-Z]{3}$'),
    CONSTRAINT events_usage CHECK (LEAST(input, input_audio, input_image, cache_read, cache_write_5m, cache_write_1h,
        output, reasoning, output_audio, output_image, web_search, file_search) > 0),
    CONSTRAINT events_call CHECK (kind <> 'RequestCompleted' OR (request_id IS NOT NULL AND cost IS NOT NULL AND charge IS NOT NULL))
) PARTITION BY RANGE (index);

COMMENT ON TABLE ledger.events IS 'The ledger. canonical is the event; leaf proves it; every other column says the same for SQL and is NULL where the event has nothing. Partitions hold 2^24 indexes each.';
COMMENT ON COLUMN ledger.events.index IS 'Place in the ledger, from 0 without a gap, in the order of commit.';
COMMENT ON COLUMN ledger.events.recorded_at IS 'When the ledger took it, in µs. Rises with the index.';
COMMENT ON COLUMN ledger.events.at IS 'When it happened: for a call, when it was admitted. Budget window and billing period follow from it.';
COMMENT ON COLUMN ledger.events.id IS 'Identity for ever: the same id is never appended twice (ledger.ids).';
COMMENT ON COLUMN ledger.events.request_id IS 'The call that it is about: the id of the first event about the call.';
COMMENT ON COLUMN ledger.events.supersedes IS 'The one event that this one replaces (ledger.supersedes).';
COMMENT ON COLUMN ledger.events.cost_price IS 'Id of the price version that cost was computed from.';
COMMENT ON COLUMN ledger.events.charge_price IS 'Id of the price version that charge was computed from.';
COMMENT ON COLUMN ledger.events.spool_id IS 'The spool in which it was durable first; with spool_epoch, the opening of it.';
COMMENT ON COLUMN ledger.events.first_byte_at IS 'When the upstream''s first byte came.';
COMMENT ON COLUMN ledger.events.first_token_at IS 'When the first piece of content came.';
COMMENT ON COLUMN ledger.events.input IS 'Prompt tokens that no other meter counts. The meters of a call (input … file_search) are disjoint; NULL is none.';
COMMENT ON COLUMN ledger.events.cache_read IS 'Prompt tokens read from the provider''s cache.';
COMMENT ON COLUMN ledger.events.cache_write_5m IS 'Prompt tokens written to a short-lived cache.';
COMMENT ON COLUMN ledger.events.cache_write_1h IS 'Prompt tokens written to a one-hour cache.';
COMMENT ON COLUMN ledger.events.output IS 'Generated tokens that no other meter counts.';
COMMENT ON COLUMN ledger.events.reasoning IS 'Generated tokens that are not part of the answer.';
COMMENT ON COLUMN ledger.events.web_search IS 'Searches that the provider ran and bills one by one.';
COMMENT ON COLUMN ledger.events.v IS 'Version of the encoding.';
COMMENT ON COLUMN ledger.events.status IS 'HTTP status that the caller got.';
COMMENT ON COLUMN ledger.events.provider_request_id IS 'The provider''s own id of the last try: what its support and its bill know the call by.';
COMMENT ON COLUMN ledger.events.attempts IS 'How often a provider was tried; the tries are in private.';
COMMENT ON COLUMN ledger.events.control IS 'True for the kinds that configure manti (organisations, keys, prices …) and that commands decide by.';
COMMENT ON COLUMN ledger.events.author IS 'user:<id>, key:<id>, system:<what> or operator:<login>; NULL for calls, whose key says it.';
COMMENT ON COLUMN ledger.events.asked_model IS 'The model as the caller named it; model is the one that served and was priced.';
COMMENT ON COLUMN ledger.events.provenance IS 'Where the meters come from: reported, partial, estimated (by estimator) or none.';
COMMENT ON COLUMN ledger.events.cost IS 'What the provider takes, exactly. Private.';
COMMENT ON COLUMN ledger.events.charge IS 'What the customer pays, exactly: price times usage, never rounded.';
COMMENT ON COLUMN ledger.events.held IS 'What a call of outcome unknown could have cost, in the charge''s currency: pending in budgets, never on an invoice.';
COMMENT ON COLUMN ledger.events.leaf IS 'RFC 6962 leaf hash: SHA-256(0x00 ‖ recorded_at as 8 bytes of µs since 1970, big endian ‖ canonical).';
COMMENT ON COLUMN ledger.events.canonical IS 'Public part as JSON ‖ SHA-256(private_salt ‖ private) ‖ SHA-256(salt ‖ erasable part); 32 zero bytes for a part that is not there.';
COMMENT ON COLUMN ledger.events.private IS 'Private part as JSON: provider, attempts, cost, raw usage.';

CREATE INDEX events_control ON ledger.events (index) WHERE control;
CREATE INDEX events_recorded_at ON ledger.events USING brin (recorded_at);
SELECT ledger.guard('events', 'UPDATE OR DELETE');

CREATE TABLE ledger.ids (
    id    uuid   NOT NULL,
    index bigint NOT NULL CHECK (index >= 0),
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE ledger.ids IS 'Each event''s id, once for ever. Partitions are months of the time in the id (UUIDv7, UUIDv8); ids_default holds clocks gone wrong and what is older than the ledger.';
SELECT ledger.guard('ids', 'UPDATE OR DELETE');

CREATE TABLE ledger.ids_default (LIKE ledger.ids INCLUDING ALL);
ALTER TABLE ledger.ids ATTACH PARTITION ledger.ids_default DEFAULT;
SELECT ledger.guard('ids_default', '');

CREATE TABLE ledger.erasable (
    index        bigint PRIMARY KEY,
    id           uuid  NOT NULL,
    salt         bytea NOT NULL CHECK (octet_length(salt) = 16),
    data         bytea NOT NULL,
    end_user     text,
    session      text,
    client       text,
    trace        text,
    tags         jsonb,
    served_model text,
    error_text   text,
    name         text
) WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
COMMENT ON TABLE ledger.erasable IS 'Every string that a caller or provider made, and people''s data. A row may be deleted: its event stays, and so does every proof.';
COMMENT ON COLUMN ledger.erasable.data IS 'Erasable part as JSON, with the salt of its hash in canonical. The columns after it say the same for SQL; U+0000, which text cannot hold, is U+FFFD there.';
COMMENT ON COLUMN ledger.erasable.name IS 'The name in an event of a control kind.';
SELECT ledger.guard('erasable', 'UPDATE');

CREATE TABLE ledger.supersedes (
    id       uuid   PRIMARY KEY,
    by       uuid   NOT NULL CHECK (by <> id),
    by_index bigint NOT NULL
);
COMMENT ON TABLE ledger.supersedes IS 'Events that another one replaced, each at most once: the next correction replaces the correction.';
SELECT ledger.guard('supersedes', 'UPDATE OR DELETE');

CREATE TABLE ledger.rejected (
    digest      bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    id          uuid,
    spool_id    uuid,
    spool_epoch bigint,
    reason      text        NOT NULL,
    sqlstate    text,
    record      bytea       NOT NULL
);
COMMENT ON TABLE ledger.rejected IS 'Records that the ledger could not take for what they are, with all their bytes. Each is an alarm until ledger.answers names the event that settled it.';
COMMENT ON COLUMN ledger.rejected.digest IS 'SHA-256 of record: the same record is kept once, however often it is sent.';
COMMENT ON COLUMN ledger.rejected.id IS 'Id of the event, where it can be read.';
SELECT ledger.guard('rejected', 'UPDATE OR DELETE');

CREATE TABLE ledger.answers (
    digest bytea PRIMARY KEY REFERENCES ledger.rejected,
    by     uuid  NOT NULL
);
COMMENT ON TABLE ledger.answers IS 'The event that settled a rejected record.';
SELECT ledger.guard('answers', 'UPDATE OR DELETE');

CREATE TABLE ledger.spools (
    id               uuid        PRIMARY KEY,
    epoch            bigint      NOT NULL CHECK (epoch >= 0),
    replica          text        NOT NULL,
    last_seen        timestamptz NOT NULL,
    drained_index    bigint,
    unshipped        bigint      NOT NULL DEFAULT 0,
    oldest_unshipped timestamptz,
    lost             boolean     NOT NULL DEFAULT false
) WITH (fillfactor = 50);
COMMENT ON TABLE ledger.spools IS 'Every spool that ever shipped to this ledger, as its shipper last reported.';
COMMENT ON COLUMN ledger.spools.epoch IS 'How often it has been opened.';
COMMENT ON COLUMN ledger.spools.drained_index IS 'Everything that the spool held when it was last empty stands below this index. NULL: never yet.';
COMMENT ON COLUMN ledger.spools.unshipped IS 'Completions that were durable in the spool and not here at last_seen.';
COMMENT ON COLUMN ledger.spools.lost IS 'An operator declared it lost.';
SELECT ledger.guard('spools', 'DELETE');

CREATE TABLE ledger.tiles (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
    tile   bigint   NOT NULL CHECK (tile >= 0),
    width  smallint NOT NULL CHECK (width BETWEEN 1 AND 256),
    hashes bytea    NOT NULL,
    PRIMARY KEY (level, tile, width),
    CHECK (octet_length(hashes) = 32 * width)
) WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
ALTER TABLE ledger.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE ledger.tiles IS 'The Merkle tree over the leaves in tiles of 8 levels (C2SP tlog-tiles): width hashes of 32 bytes each, of level 8 × level, from number 256 × tile.';
SELECT ledger.guard('tiles', 'UPDATE OR DELETE');

CREATE TABLE ledger.checkpoints (
    size    bigint      PRIMARY KEY CHECK (size >= 0),
    note    text        NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger.checkpoints IS 'Signed notes over the tree of the first size events (C2SP tlog-checkpoint).';
SELECT ledger.guard('checkpoints', 'UPDATE OR DELETE');

-- Partitions. They are made as tables of their own and then attached, which
-- locks no reader of the parent out. Nobody is granted anything on them: all
-- access is through the parent.

CREATE FUNCTION ledger.make_events_partition(num bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'events_' || lpad(num::text, 5, '0');
BEGIN
    IF to_regclass('ledger.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    -- toast_tuple_target: rows of some KB stay in one piece and uncompressed.
    -- A page is frozen when it is first vacuumed, soon after it is full.
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.events INCLUDING CONSTRAINTS INCLUDING COMMENTS) WITH (
        toast_tuple_target = 8160, autovacuum_freeze_min_age = 0,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000)', part);
    EXECUTE format('ALTER TABLE ledger.events ATTACH PARTITION ledger.%I FOR VALUES FROM (%s) TO (%s)', part, num << 24, (num + 1) << 24);
    PERFORM ledger.guard(part::name, '');
END
$$;
COMMENT ON FUNCTION ledger.make_events_partition(bigint) IS 'Makes the partition of the indexes from num × 2^24, if it is missing.';

CREATE FUNCTION ledger.make_ids_partition(month timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    begins timestamp := date_trunc('month', month AT TIME ZONE 'UTC');
    part   text := 'ids_' || to_char(begins, 'YYYY_MM');
    lower  uuid := (lpad(to_hex((extract(epoch FROM begins) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
    upper  uuid := (lpad(to_hex((extract(epoch FROM begins + interval '1 month') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
BEGIN
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
COMMENT ON FUNCTION ledger.make_ids_partition(timestamptz) IS 'Makes the partition of the ids with a time in this month (UTC), if it is missing and can be.';

CREATE FUNCTION ledger.make_partitions(upto bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next bigint;
BEGIN
    SELECT size INTO STRICT next FROM ledger.head WHERE shard = 0 FOR UPDATE;
    IF upto > next + (1::bigint << 25) THEN
        RAISE EXCEPTION 'partitions up to % are too far ahead of %', upto, next USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR num IN (next >> 24) .. (upto >> 24) LOOP
        PERFORM ledger.make_events_partition(num);
    END LOOP;
    RETURN ((greatest(upto, next) >> 24) + 1) << 24;
END
$$;
COMMENT ON FUNCTION ledger.make_partitions(bigint) IS 'Makes the missing partitions of ledger.events from the head up to this index, and returns the first index without one. Runs as the owner.';

CREATE FUNCTION ledger.make_months() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM ledger.head WHERE shard = 0 FOR UPDATE;
    FOR ahead IN -1 .. 2 LOOP
        PERFORM ledger.make_ids_partition(clock_timestamp() + make_interval(months => ahead));
    END LOOP;
END
$$;
COMMENT ON FUNCTION ledger.make_months() IS 'Makes the missing partitions of ledger.ids from last month to the one after next. Runs as the owner.';

-- Closing takes two transactions: the first needs a lock that shuts readers out
-- and returns at once, the second reads the whole partition beside them.

CREATE FUNCTION ledger.bound_partition(num bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part  text := 'events_' || lpad(num::text, 5, '0');
    first timestamptz;
    last  timestamptz;
BEGIN
    IF (SELECT size FROM ledger.head WHERE shard = 0) < (num + 1) << 24 THEN
        RAISE EXCEPTION 'partition % is not full', num USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass('ledger.' || part) AND conname = 'closed') THEN
        RETURN false;
    END IF;
    SELECT recorded_at INTO STRICT first FROM ledger.events WHERE index >= num << 24 AND index < (num + 1) << 24 ORDER BY index LIMIT 1;
    SELECT recorded_at INTO STRICT last FROM ledger.events WHERE index = ((num + 1) << 24) - 1;
    EXECUTE format('ALTER TABLE ledger.%I ADD CONSTRAINT closed CHECK (recorded_at BETWEEN %L AND %L) NOT VALID', part, first, last);
    RETURN true;
END
$$;
COMMENT ON FUNCTION ledger.bound_partition(bigint) IS 'Gives a full partition its CHECK on recorded_at, not validated yet. False: it has it.';

CREATE FUNCTION ledger.validate_partition(num bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE ledger.%I VALIDATE CONSTRAINT closed', 'events_' || lpad(num::text, 5, '0'));
END
$$;
COMMENT ON FUNCTION ledger.validate_partition(bigint) IS 'Validates the CHECK of a closed partition, from when on ranges of time prune it.';

SELECT ledger.make_partitions(1 << 24);
SELECT ledger.make_months();

-- Functions are everybody's to run unless that is taken away.
SELECT manti.deny('public', 'EXECUTE', 'ALL FUNCTIONS IN SCHEMA ledger');
SELECT manti.allow('writer', 'EXECUTE', 'FUNCTION ledger.make_partitions(bigint), ledger.make_months(), ledger.bound_partition(bigint), ledger.validate_partition(bigint)');

SELECT manti.allow('writer', 'SELECT, INSERT', 'TABLE ledger.events, ledger.ids, ledger.erasable, ledger.supersedes, ledger.rejected, ledger.answers, ledger.spools, ledger.tiles, ledger.checkpoints');
SELECT manti.allow('writer', 'SELECT, UPDATE', 'TABLE ledger.head');
SELECT manti.allow('writer', 'UPDATE', 'TABLE ledger.spools');
SELECT manti.allow('writer', 'DELETE', 'TABLE ledger.erasable');
SELECT manti.allow('auditor', 'SELECT', 'TABLE ledger.head, ledger.events, ledger.ids, ledger.erasable, ledger.supersedes, ledger.rejected, ledger.answers, ledger.spools, ledger.tiles, ledger.checkpoints');

-- The reader sees no private part, no salt, and of rejected records not their bytes.
SELECT manti.allow('reader', 'SELECT', 'TABLE ledger.head, ledger.ids, ledger.supersedes, ledger.answers, ledger.spools, ledger.tiles, ledger.checkpoints');
SELECT manti.allow('reader', format('SELECT (%s)', string_agg(quote_ident(attname), ', ')), 'TABLE ledger.' || relname)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE attrelid IN ('ledger.events'::regclass, 'ledger.erasable'::regclass, 'ledger.rejected'::regclass) AND attnum > 0
  AND attname NOT IN ('private', 'private_salt', 'salt', 'data', 'record')
GROUP BY relname;

-- migrate:down

DROP TABLE ledger.checkpoints, ledger.tiles, ledger.spools, ledger.answers, ledger.rejected, ledger.supersedes, ledger.erasable,
    ledger.ids, ledger.events, ledger.head;
DROP FUNCTION ledger.validate_partition(bigint);
DROP FUNCTION ledger.bound_partition(bigint);
DROP FUNCTION ledger.make_months();
DROP FUNCTION ledger.make_partitions(bigint);
DROP FUNCTION ledger.make_ids_partition(timestamptz);
DROP FUNCTION ledger.make_events_partition(bigint);
DROP FUNCTION ledger.guard(name, text);
DROP FUNCTION ledger.move_head();
DROP FUNCTION ledger.refuse_change();
