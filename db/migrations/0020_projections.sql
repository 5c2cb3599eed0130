-- migrate:up

-- Projections: rows folded from ledger.events. All of them can be dropped and
-- folded anew; nothing is decided or written here that isn't in the ledger.

CREATE TABLE projections.checkpoints (
    name       text        PRIMARY KEY,
    version    integer     NOT NULL,
    index      bigint      NOT NULL CHECK (index >= 0),
    digest     bytea       NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE projections.checkpoints IS 'How far each projection has folded. Moves in one transaction with the rows; a name that ends in .shadow is a rebuild in progress.';
COMMENT ON COLUMN projections.checkpoints.version IS 'Version of the fold that made the rows.';
COMMENT ON COLUMN projections.checkpoints.index IS 'Every event with a lower index is folded, no other.';
COMMENT ON COLUMN projections.checkpoints.digest IS 'Sum of hash_record_extended(row, 0) over all rows, modulo 2^64, 8 bytes big endian; empty is 0. Depends on the index alone, not on the batches.';

CREATE TABLE projections.balances (
    org_id   uuid    NOT NULL,
    currency text    NOT NULL,
    calls    bigint  NOT NULL,
    cost     numeric NOT NULL,
    charge   numeric NOT NULL,
    held     numeric NOT NULL,
    PRIMARY KEY (org_id, currency)
) WITH (fillfactor = 50);
COMMENT ON TABLE projections.balances IS 'Exact sums over all calls of an organisation in one currency. XTS is the simulator''s.';
COMMENT ON COLUMN projections.balances.calls IS 'Calls charged in this currency, each counted once whatever corrected it.';
COMMENT ON COLUMN projections.balances.cost IS 'What providers take.';
COMMENT ON COLUMN projections.balances.charge IS 'What the organisation pays.';
COMMENT ON COLUMN projections.balances.held IS 'What calls of outcome unknown could have cost: pending, not part of charge.';

CREATE TABLE projections.usage (
    hour            timestamptz NOT NULL,
    org_id          uuid        NOT NULL,
    project_id      uuid        NOT NULL,
    key_id          uuid        NOT NULL,
    model           text        NOT NULL,
    provider        text        NOT NULL,
    cost_currency   text        NOT NULL,
    charge_currency text        NOT NULL,
    calls           bigint      NOT NULL,
    failed          bigint      NOT NULL,
    unknown         bigint      NOT NULL,
    input           numeric     NOT NULL,
    input_audio     numeric     NOT NULL,
    input_image     numeric     NOT NULL,
    cache_read      numeric     NOT NULL,
    cache_write_5m  numeric     NOT NULL,
    cache_write_1h  numeric     NOT NULL,
    output          numeric     NOT NULL,
    reasoning       numeric     NOT NULL,
    output_audio    numeric     NOT NULL,
    output_image    numeric     NOT NULL,
    web_search      numeric     NOT NULL,
    file_search     numeric     NOT NULL,
    cost            numeric     NOT NULL,
    charge          numeric     NOT NULL,
    held            numeric     NOT NULL,
    PRIMARY KEY (org_id, hour, project_id, key_id, model, provider, cost_currency, charge_currency)
) WITH (fillfactor = 70);
CREATE INDEX usage_hour ON projections.usage (hour);
COMMENT ON TABLE projections.usage IS 'Exact sums over the calls of an hour. A correction counts in the hour in which the call was admitted. Sums that a correction moved elsewhere stay as zeros.';
COMMENT ON COLUMN projections.usage.hour IS 'Beginning of the hour, UTC.';
COMMENT ON COLUMN projections.usage.key_id IS 'The key that called; all zeros if it was none.';
COMMENT ON COLUMN projections.usage.failed IS 'Calls whose outcome is provider_error, upstream_failed, broken or failed.';
COMMENT ON COLUMN projections.usage.unknown IS 'Calls whose outcome is unknown until a correction settles it.';
COMMENT ON COLUMN projections.usage.input IS 'Prompt tokens that no other meter counts. Meters are disjoint; they are numeric so that no sum overflows.';

CREATE TABLE projections.requests (
    id              uuid        PRIMARY KEY,
    event_id        uuid        NOT NULL,
    index           bigint      NOT NULL,
    at              timestamptz NOT NULL,
    first_byte_at   timestamptz,
    first_token_at  timestamptz,
    ended_at        timestamptz,
    org_id          uuid        NOT NULL,
    project_id      uuid        NOT NULL,
    key_id          uuid,
    user_id         uuid,
    service_id      uuid,
    status          smallint,
    attempts        smallint,
    stream          boolean,
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
    dialect         text,
    endpoint        text,
    asked_model     text,
    model           text,
    provider        text,
    tier            text,
    outcome         text        NOT NULL,
    error           text,
    provenance      text,
    cost            numeric     NOT NULL,
    cost_currency   text        NOT NULL,
    charge          numeric     NOT NULL,
    charge_currency text        NOT NULL,
    held            numeric,
    flags           text[]
) WITH (fillfactor = 90);
CREATE INDEX requests_page ON projections.requests (org_id, at, id);
COMMENT ON TABLE projections.requests IS 'Every call as it stands after all corrections. Columns mean what they mean in ledger.events.';
COMMENT ON COLUMN projections.requests.event_id IS 'The event that says so, at index: the last of the call''s that nothing supersedes.';

CREATE TABLE projections.orgs (
    id         uuid        PRIMARY KEY,
    created_at timestamptz NOT NULL,
    index      bigint      NOT NULL
);
COMMENT ON TABLE projections.orgs IS 'Organisations. Their names are in ledger.erasable at index, and nowhere else.';

CREATE TABLE projections.projects (
    id         uuid        PRIMARY KEY,
    org_id     uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    index      bigint      NOT NULL
);
CREATE INDEX projects_org ON projections.projects (org_id);
COMMENT ON TABLE projections.projects IS 'Projects. Their names are in ledger.erasable at index, and nowhere else.';

CREATE TABLE projections.keys (
    id         uuid        PRIMARY KEY,
    org_id     uuid        NOT NULL,
    project_id uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    service_id uuid        NOT NULL,
    hash       text        NOT NULL,
    hint       text        NOT NULL,
    issued_at  timestamptz NOT NULL,
    issued_by  text        NOT NULL,
    index      bigint      NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text
);
CREATE INDEX keys_hash ON projections.keys (hash);
CREATE INDEX keys_org ON projections.keys (org_id);
COMMENT ON TABLE projections.keys IS 'Every key that was ever issued. Its name is in ledger.erasable at index, and nowhere else.';
COMMENT ON COLUMN projections.keys.user_id IS 'Whose key it is; all zeros if nobody''s. service_id likewise.';
COMMENT ON COLUMN projections.keys.hash IS 'HMAC-SHA-256(pepper, SHA-256(key)) in hex: recognises a key, and does not work as one.';
COMMENT ON COLUMN projections.keys.hint IS 'Last characters of the key, for people.';

CREATE TABLE projections.prices (
    id           uuid        PRIMARY KEY,
    number       integer     NOT NULL,
    digest       text        NOT NULL,
    builtin      boolean     NOT NULL,
    published_at timestamptz NOT NULL,
    published_by text        NOT NULL,
    index        bigint      NOT NULL
);
CREATE INDEX prices_index ON projections.prices (index);
COMMENT ON TABLE projections.prices IS 'Versions of the price book; the one with the highest index holds. The book itself is in the private part of the event at index.';
COMMENT ON COLUMN projections.prices.id IS 'The version''s name in events: cost_price, charge_price.';
COMMENT ON COLUMN projections.prices.builtin IS 'True if it is the list that the program brings along, not an operator''s.';

-- A rebuild folds into shadow tables beside the live ones and swaps them. Only
-- the owner may make and drop tables, so both steps run as it.

CREATE FUNCTION projections.make_shadow(tbl name) RETURNS void
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
COMMENT ON FUNCTION projections.make_shadow(name) IS 'Makes an empty table like this one, named shadow_…, in place of any there is. Runs as the owner.';

CREATE FUNCTION projections.swap_shadow(tbl name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tbl = 'checkpoints' OR to_regclass(format('projections.%I', 'shadow_' || tbl)) IS NULL THEN
        RAISE EXCEPTION 'projections.% has no shadow', tbl USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE projections.%I', tbl);
    EXECUTE format('ALTER TABLE projections.%I RENAME TO %I', 'shadow_' || tbl, tbl);
END
$$;
COMMENT ON FUNCTION projections.swap_shadow(name) IS 'Puts shadow_… in the table''s place and drops what was there. Runs as the owner.';

CREATE FUNCTION projections.drop_shadow(tbl name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS projections.%I', 'shadow_' || tbl);
END
$$;
COMMENT ON FUNCTION projections.drop_shadow(name) IS 'Drops shadow_…, if it is there. Runs as the owner.';

SELECT manti.deny('public', 'EXECUTE', 'ALL FUNCTIONS IN SCHEMA projections');
SELECT manti.allow('writer', 'EXECUTE', 'ALL FUNCTIONS IN SCHEMA projections');

-- migrate:down

DROP FUNCTION projections.drop_shadow(name);
DROP FUNCTION projections.swap_shadow(name);
DROP FUNCTION projections.make_shadow(name);
-- A rebuild may have been under way.
DROP TABLE IF EXISTS projections.shadow_prices, projections.shadow_keys, projections.shadow_projects, projections.shadow_orgs,
    projections.shadow_requests, projections.shadow_usage, projections.shadow_balances;
DROP TABLE projections.prices, projections.keys, projections.projects, projections.orgs, projections.requests,
    projections.usage, projections.balances, projections.checkpoints;
