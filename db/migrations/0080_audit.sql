-- migrate:up

-- What auditors read. The views stay as they are: a new release may add views,
-- and columns at a view's end, and nothing else (audit.version counts that). They
-- stand on the ledger alone wherever that is possible: projections are rebuilt and
-- swapped. All run with the owner's rights, so whoever may read a view needs no
-- right on what is behind it.
--
-- A range of recorded_at prunes partitions, in every view that has it from its
-- own event; a range of at doesn't, since a correction may be of any age.

-- U+0000, which jsonb can't hold, is U+FFFD here.
CREATE FUNCTION audit.part(part bytea) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN replace(convert_from(part, 'UTF8'), '\u0000', '\ufffd')::jsonb;
COMMENT ON FUNCTION audit.part(bytea) IS 'A part of an event as jsonb. U+0000 is U+FFFD.';

CREATE FUNCTION audit.body(canonical bytea) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN audit.part(substring(canonical FOR octet_length(canonical) - 64)) -> 'body';
COMMENT ON FUNCTION audit.body(bytea) IS 'The body in the public part of an event''s canonical bytes.';

CREATE VIEW audit.version AS SELECT 1 AS version;
COMMENT ON VIEW audit.version IS 'Version of the schema audit. It rises when views or columns are added; none is ever taken away or changed in its meaning.';

CREATE VIEW audit.calls AS
SELECT e.index, e.recorded_at, e.at, e.request_id, e.id AS event_id,
    e.kind = 'UsageCorrected' AS corrected,
    e.org_id, e.project_id, e.key_id, e.user_id, e.service_id,
    e.dialect, e.endpoint, e.stream, e.asked_model, e.model, e.provider, e.host, e.region, e.tier, e.provider_request_id, e.attempts,
    e.first_byte_at, e.first_token_at, e.ended_at, e.outcome, e.status, e.error, e.provenance, e.estimator,
    COALESCE(e.input, 0) AS input, COALESCE(e.input_audio, 0) AS input_audio, COALESCE(e.input_image, 0) AS input_image,
    COALESCE(e.cache_read, 0) AS cache_read, COALESCE(e.cache_write_5m, 0) AS cache_write_5m, COALESCE(e.cache_write_1h, 0) AS cache_write_1h,
    COALESCE(e.output, 0) AS output, COALESCE(e.reasoning, 0) AS reasoning, COALESCE(e.output_audio, 0) AS output_audio, COALESCE(e.output_image, 0) AS output_image,
    COALESCE(e.web_search, 0) AS web_search, COALESCE(e.file_search, 0) AS file_search,
    COALESCE(e.input, 0) + COALESCE(e.input_audio, 0) + COALESCE(e.input_image, 0) + COALESCE(e.cache_read, 0) + COALESCE(e.cache_write_5m, 0) + COALESCE(e.cache_write_1h, 0) AS prompt_tokens,
    COALESCE(e.output, 0) + COALESCE(e.reasoning, 0) + COALESCE(e.output_audio, 0) + COALESCE(e.output_image, 0) AS completion_tokens,
    e.cost, e.cost_currency, e.cost_price, e.charge, e.charge_currency, e.charge_price, COALESCE(e.held, 0) AS held,
    e.route_version, e.config_version, e.replica, e.spool_id, e.spool_epoch, e.flags
FROM ledger.events e
WHERE e.kind IN ('RequestCompleted', 'UsageCorrected') AND NOT EXISTS (SELECT FROM ledger.supersedes s WHERE s.id = e.id);
COMMENT ON VIEW audit.calls IS 'Every call once, as it stands after all corrections.';

CREATE VIEW audit.call_history AS
SELECT e.index, e.recorded_at, e.at, e.request_id, e.id AS event_id, e.kind, e.supersedes, s.by AS superseded_by, s.by_index AS superseded_at_index, s.id IS NULL AS stands,
    CASE WHEN e.kind = 'UsageCorrected' THEN audit.body(e.canonical) ->> 'basis' END AS basis,
    CASE WHEN e.kind = 'UsageCorrected' THEN audit.part(e.private) ->> 'reason' END AS reason, e.author,
    e.org_id, e.project_id, e.key_id, e.model, e.provider, e.outcome, e.status, e.provenance,
    COALESCE(e.input, 0) + COALESCE(e.input_audio, 0) + COALESCE(e.input_image, 0) + COALESCE(e.cache_read, 0) + COALESCE(e.cache_write_5m, 0) + COALESCE(e.cache_write_1h, 0) AS prompt_tokens,
    COALESCE(e.output, 0) + COALESCE(e.reasoning, 0) + COALESCE(e.output_audio, 0) + COALESCE(e.output_image, 0) AS completion_tokens,
    e.cost, e.cost_currency, e.cost_price, e.charge, e.charge_currency, e.charge_price, COALESCE(e.held, 0) AS held
FROM ledger.events e LEFT JOIN ledger.supersedes s ON s.id = e.id
WHERE e.kind IN ('RequestCompleted', 'UsageCorrected');
COMMENT ON VIEW audit.call_history IS 'Every event about every call: the first, and each that superseded the one before.';

CREATE VIEW audit.corrections AS
SELECT e.index, e.recorded_at, e.at, e.request_id, e.id AS event_id, e.supersedes, i.index AS superseded_index,
    CASE WHEN e.kind = 'UsageCorrected' THEN audit.body(e.canonical) ->> 'basis' ELSE 'completion' END AS basis,
    CASE WHEN e.kind = 'UsageCorrected' THEN audit.part(e.private) ->> 'reason' END AS reason, e.author,
    e.org_id, e.project_id, e.key_id, e.model, e.outcome,
    old.charge AS old_charge, e.charge AS new_charge, e.charge - old.charge AS charge_difference, e.charge_currency,
    old.cost AS old_cost, e.cost AS new_cost, e.cost - old.cost AS cost_difference, e.cost_currency,
    old.charge_price AS old_charge_price, e.charge_price AS new_charge_price,
    NOT EXISTS (SELECT FROM ledger.supersedes s WHERE s.id = e.id) AS stands
FROM ledger.events e
LEFT JOIN ledger.ids i ON i.id = e.supersedes
LEFT JOIN ledger.events old ON old.index = i.index
WHERE e.kind IN ('RequestCompleted', 'UsageCorrected') AND e.supersedes IS NOT NULL;
COMMENT ON VIEW audit.corrections IS 'Every event that superseded another one about the same call, with what it changed.';

CREATE VIEW audit.spend_by_day AS
SELECT (c.at AT TIME ZONE 'UTC')::date AS day, c.org_id, c.project_id, c.key_id, c.model, c.provider,
    count(*) AS calls, count(*) FILTER (WHERE c.outcome = 'unknown') AS unknown, count(*) FILTER (WHERE c.corrected) AS corrected,
    sum(c.prompt_tokens) AS prompt_tokens, sum(c.completion_tokens) AS completion_tokens,
    sum(c.cost) AS cost, c.cost_currency, sum(c.charge) AS charge, c.charge_currency, sum(c.held) AS held
FROM audit.calls c
GROUP BY (c.at AT TIME ZONE 'UTC')::date, c.org_id, c.project_id, c.key_id, c.model, c.provider, c.cost_currency, c.charge_currency;
COMMENT ON VIEW audit.spend_by_day IS 'Exact sums over the calls as they stand, by the day (UTC) of their admission. It reads the whole ledger: for a range, sum audit.calls with a bound on recorded_at.';

CREATE VIEW audit.control_events AS
SELECT e.index, e.recorded_at, e.at, e.id AS event_id, e.kind, e.author, e.org_id, e.project_id, e.key_id, e.user_id, audit.body(e.canonical) AS body
FROM ledger.events e WHERE e.control;
COMMENT ON VIEW audit.control_events IS 'Who did what: every event that configures manti or that an operator made about the ledger itself.';

CREATE VIEW audit.orgs AS
SELECT e.org_id, x.name, e.at AS created_at, e.author AS created_by, e.index, e.recorded_at
FROM ledger.events e LEFT JOIN ledger.erasable x ON x.index = e.index
WHERE e.control AND e.kind = 'OrgCreated';
COMMENT ON VIEW audit.orgs IS 'Organisations.';

CREATE VIEW audit.projects AS
SELECT e.project_id, e.org_id, x.name, e.at AS created_at, e.author AS created_by, e.index, e.recorded_at
FROM ledger.events e LEFT JOIN ledger.erasable x ON x.index = e.index
WHERE e.control AND e.kind = 'ProjectCreated';
COMMENT ON VIEW audit.projects IS 'Projects.';

CREATE VIEW audit.key_history AS
SELECT e.index, e.recorded_at, e.at, e.id AS event_id, e.key_id, CASE e.kind WHEN 'KeyIssued' THEN 'issued' ELSE 'revoked' END AS what, e.author,
    e.org_id, e.project_id, e.user_id, e.service_id, (audit.body(e.canonical) ->> 'expires')::timestamptz AS expires_at
FROM ledger.events e
WHERE e.control AND e.kind IN ('KeyIssued', 'KeyRevoked');
COMMENT ON VIEW audit.key_history IS 'What was done to keys, and by whom.';

CREATE VIEW audit.keys AS
SELECT e.key_id, x.name, audit.part(e.private) ->> 'hint' AS hint, e.org_id, e.project_id, e.user_id, e.service_id,
    e.at AS issued_at, e.author AS issued_by, (audit.body(e.canonical) ->> 'expires')::timestamptz AS expires_at, r.at AS revoked_at, r.author AS revoked_by,
    LEAST((audit.body(e.canonical) ->> 'expires')::timestamptz, r.at) AS ended_at, e.index, e.recorded_at
FROM ledger.events e
LEFT JOIN ledger.erasable x ON x.index = e.index
LEFT JOIN LATERAL (
    SELECT v.at, v.author FROM ledger.events v
    WHERE v.control AND v.kind = 'KeyRevoked' AND v.key_id = e.key_id AND v.index > e.index ORDER BY v.index LIMIT 1
) r ON true
WHERE e.control AND e.kind = 'KeyIssued';
COMMENT ON VIEW audit.keys IS 'Every key that was ever issued, with its lifetime.';

CREATE VIEW audit.price_history AS
SELECT e.index, e.recorded_at, e.at AS published_at, e.id AS price, (audit.body(e.canonical) ->> 'number')::integer AS number, audit.body(e.canonical) ->> 'digest' AS digest,
    e.author, e.author = 'system:builtin-prices' AS builtin, jsonb_array_length(audit.part(e.private) -> 'models') AS models
FROM ledger.events e
WHERE e.control AND e.kind = 'PricesPublished';
COMMENT ON VIEW audit.price_history IS 'Versions of the price book. Each holds for calls that are admitted from its publication to the next.';

-- The planner can't guess how many rates a book has; a function's estimate can be
-- given to it.
CREATE FUNCTION audit.rates_of(private bytea) RETURNS TABLE (provider text, model text, list text, valid_from timestamptz, valid_to timestamptz,
    tier text, speed text, region text, over bigint, up_to bigint, meter text, rate numeric, own boolean, currency text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 5000 SET search_path = pg_catalog, pg_temp SET jit = off SET timezone = 'UTC'
BEGIN ATOMIC
SELECT c.card ->> 'provider', c.card ->> 'name', l.list,
    COALESCE((p.price ->> 'from')::timestamptz, '-infinity'),
    lead((p.price ->> 'from')::timestamptz, 1, 'infinity') OVER (
        PARTITION BY c.no, l.list, v.tier, v.speed, v.region, t.tier ->> 'over', m.meter ORDER BY p.no),
    v.tier, v.speed, v.region, COALESCE((t.tier ->> 'over')::bigint, 0),
    lead((t.tier ->> 'over')::bigint) OVER (PARTITION BY c.no, l.list, p.no, v.tier, v.speed, v.region, m.meter ORDER BY t.no),
    m.meter, COALESCE(t.tier -> 'rates' ->> m.meter, t.tier -> 'rates' ->> m.second, t.tier -> 'rates' ->> m.third)::numeric,
    t.tier -> 'rates' ? m.meter, l.prices ->> 'currency'
FROM jsonb_array_elements(audit.part(private) -> 'models') WITH ORDINALITY c(card, no)
CROSS JOIN LATERAL jsonb_array_elements(c.card -> 'prices') WITH ORDINALITY p(price, no)
CROSS JOIN LATERAL (VALUES ('cost', p.price -> 'cost'), ('charge', COALESCE(p.price -> 'charge', p.price -> 'cost'))) l(list, prices)
CROSS JOIN LATERAL (
    SELECT '' AS tier, '' AS speed, '' AS region, l.prices -> 'tiers' AS tiers
    UNION ALL
    SELECT COALESCE(x ->> 'tier', ''), COALESCE(x ->> 'speed', ''), COALESCE(x ->> 'region', ''), x -> 'tiers'
    FROM jsonb_array_elements(COALESCE(l.prices -> 'variants', '[]')) x
) v
CROSS JOIN LATERAL jsonb_array_elements(v.tiers) WITH ORDINALITY t(tier, no)
CROSS JOIN (VALUES ('input', NULL, NULL), ('input_audio', 'input', NULL), ('input_image', 'input', NULL), ('cache_read', 'input', NULL),
    ('cache_write_5m', 'input', NULL), ('cache_write_1h', 'cache_write_5m', 'input'), ('output', NULL, NULL), ('reasoning', 'output', NULL),
    ('output_audio', 'output', NULL), ('output_image', 'output', NULL), ('web_search', NULL, NULL), ('file_search', NULL, NULL)) m(meter, second, third)
WHERE COALESCE(t.tier -> 'rates' ->> m.meter, t.tier -> 'rates' ->> m.second, t.tier -> 'rates' ->> m.third) IS NOT NULL;
END;
COMMENT ON FUNCTION audit.rates_of(bytea) IS 'The rates in the private part of a PricesPublished.';

CREATE VIEW audit.rates AS
SELECT e.id AS price, r.provider, r.model, r.list, r.valid_from, r.valid_to, r.tier, r.speed, r.region, r.over, r.up_to, r.meter, r.rate, r.own, r.currency, e.index, e.recorded_at
FROM ledger.events e CROSS JOIN LATERAL audit.rates_of(e.private) r
WHERE e.control AND e.kind = 'PricesPublished';
COMMENT ON VIEW audit.rates IS 'The rates of every price version, per million: one row for each model, list, way of serving, size of prompt and meter. A call''s amount is the sum of quantity × rate ÷ 1,000,000 over its meters.';

CREATE VIEW audit.checkpoints AS
SELECT c.size, c.made_at, split_part(c.note, E'\n', 1) AS origin, split_part(c.note, E'\n', 3) AS root, c.note,
    e.recorded_at AS covers_to, c.made_at - e.recorded_at AS lag
FROM ledger.checkpoints c LEFT JOIN ledger.events e ON e.index = c.size - 1;
COMMENT ON VIEW audit.checkpoints IS 'Signed checkpoints of the log, each over its first events.';

CREATE VIEW audit.ledger AS
SELECT h.size, h.recorded_at, h.frozen, h.reason, c.size AS sealed, h.size - c.size AS unsealed, c.made_at AS sealed_at
FROM ledger.head h LEFT JOIN (SELECT size, made_at FROM ledger.checkpoints ORDER BY size DESC LIMIT 1) c ON true;
COMMENT ON VIEW audit.ledger IS 'The ledger''s end, and how far it is sealed.';

CREATE VIEW audit.rejected AS
SELECT encode(r.digest, 'hex') AS digest, r.received_at, r.id AS event_id, r.spool_id, r.spool_epoch, r.reason, r.sqlstate, octet_length(r.record) AS bytes,
    a.by AS answered_by, e.recorded_at AS answered_at, e.author AS answered_author, audit.body(e.canonical) ->> 'cause' AS answer
FROM ledger.rejected r
LEFT JOIN ledger.answers a ON a.digest = r.digest
LEFT JOIN ledger.ids i ON i.id = a.by
LEFT JOIN ledger.events e ON e.index = i.index;
COMMENT ON VIEW audit.rejected IS 'Records that the ledger could not take, and what was done about each. One without an answer is an alarm.';

CREATE VIEW audit.erasures AS
SELECT e.index, e.recorded_at, e.at, e.id AS event_id, e.author, e.user_id, jsonb_array_length(audit.body(e.canonical) -> 'indexes') AS parts,
    (audit.body(e.canonical) ->> 'through')::bigint AS through, audit.body(e.canonical) -> 'indexes' AS indexes
FROM ledger.events e
WHERE e.control AND e.kind = 'PersonForgotten';
COMMENT ON VIEW audit.erasures IS 'Erasures of people''s data: which events lost their erasable part, and on whose word.';

CREATE VIEW audit.spools AS
SELECT s.id AS spool_id, s.replica, s.epoch, s.last_seen, s.unshipped, s.oldest_unshipped, s.drained_index, s.lost
FROM ledger.spools s;
COMMENT ON VIEW audit.spools IS 'Every spool that ever shipped to this ledger, as it was last seen. One that is not seen any more may hold calls that are not here.';

CREATE VIEW audit.projections AS
SELECT c.name, c.version, c.index, h.size - c.index AS behind, c.updated_at, encode(c.digest, 'hex') AS digest,
    (SELECT count(*) FROM projections.parked p WHERE p.projection = c.name) AS parked,
    k.checked_at, k.index AS checked_index, k.ok AS check_ok, k.difference AS check_difference
FROM projections.checkpoints c
CROSS JOIN ledger.head h
LEFT JOIN LATERAL (SELECT * FROM projections.checks k WHERE k.projection = c.name AND k.checked_at IS NOT NULL ORDER BY k.night DESC LIMIT 1) k ON true
WHERE h.shard = 0;
COMMENT ON VIEW audit.projections IS 'How far each table of figures follows the ledger, and how it came out of its last nightly check.';

CREATE VIEW audit.partitions AS
SELECT c.relname::text AS name, b.number << 24 AS first_index, ((b.number + 1) << 24) - 1 AS last_index,
    COALESCE(k.convalidated, false) AS closed, pg_get_expr(k.conbin, k.conrelid) AS bounds,
    CASE WHEN c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END AS events_estimate, pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits n
JOIN pg_class c ON c.oid = n.inhrelid
CROSS JOIN LATERAL (SELECT substring(c.relname FROM '^events_(\d+)$')::bigint AS number) b
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.conname = 'closed'
WHERE n.inhparent = 'ledger.events'::regclass;
COMMENT ON VIEW audit.partitions IS 'Partitions of the ledger, attached ones. One that is closed has its bounds on recorded_at.';

-- Comments. A column means the same in every view, and what it means in the
-- ledger if it has its name from there.

CREATE FUNCTION audit.describe(name text, description text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    col record;
BEGIN
    FOR col IN SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'v' AND a.attnum > 0
        AND (a.attname = name OR c.relname || '.' || a.attname = name) AND (name LIKE '%.%' OR col_description(c.oid, a.attnum) IS NULL)
    LOOP
        EXECUTE format('COMMENT ON COLUMN audit.%I.%I IS %L', col.relname, col.attname, description);
    END LOOP;
END
$$;

SELECT audit.describe(name, description) FROM (VALUES
    ('version.version', 'The version.'),
    ('index', 'Place of the event in the ledger, from 0 without a gap, in the order of commit.'),
    ('recorded_at', 'When the ledger took the event. Rises with the index; a range of it prunes partitions.'),
    ('at', 'When it happened: for a call, when it was admitted, also in its corrections. Periods follow from it.'),
    ('event_id', 'Id of the event.'),
    ('request_id', 'Id of the call: what the caller got as its request id.'),
    ('corrected', 'True if a correction made the call what it is here.'),
    ('spend_by_day.corrected', 'How many of the calls a correction made what they are.'),
    ('org_id', 'The organisation; audit.orgs has its name.'),
    ('project_id', 'The project; audit.projects has its name.'),
    ('key_id', 'The key; audit.keys has its name and lifetime.'),
    ('user_id', 'The user whose key it is, if any.'),
    ('service_id', 'The service account whose key it is, if any.'),
    ('dialect', 'The dialect of the API that the caller spoke.'),
    ('endpoint', 'What was called.'),
    ('stream', 'Whether the answer was streamed.'),
    ('asked_model', 'The model as the caller named it.'),
    ('model', 'The model that served and was priced.'),
    ('provider', 'The provider that served.'),
    ('host', 'The host that was called last.'),
    ('region', 'The region that the provider says it served from, if it says so.'),
    ('tier', 'The service tier: as the provider named it in a call, "" for the standard one in a rate.'),
    ('speed', 'The speed that the rate is for, "" for the standard one.'),
    ('rates.region', 'The region that the rate is for, "" for all that have none of their own.'),
    ('provider_request_id', 'The provider''s own id of the last try: what its support and its bill know the call by.'),
    ('attempts', 'How often a provider was tried.'),
    ('first_byte_at', 'When the provider''s first byte came.'),
    ('first_token_at', 'When the first piece of content came.'),
    ('ended_at', 'When it ended: the call, or the key''s lifetime; NULL if not yet.'),
    ('outcome', 'How the call ended: completed, provider_error, upstream_failed, broken, caller_gone, failed; unknown if the gateway died before the end was durable.'),
    ('status', 'HTTP status that the caller got.'),
    ('error', 'Class of the error.'),
    ('provenance', 'Where the meters come from: reported, partial, estimated, given (by an operator) or none.'),
    ('estimator', 'Version of the estimator, if one was used.'),
    ('input', 'Prompt tokens that no other meter counts. The meters, input to file_search, are disjoint.'),
    ('input_audio', 'Prompt tokens of audio.'),
    ('input_image', 'Prompt tokens of images.'),
    ('cache_read', 'Prompt tokens read from the provider''s cache.'),
    ('cache_write_5m', 'Prompt tokens written to a short-lived cache.'),
    ('cache_write_1h', 'Prompt tokens written to a one-hour cache.'),
    ('output', 'Generated tokens that no other meter counts.'),
    ('reasoning', 'Generated tokens that are not part of the answer.'),
    ('output_audio', 'Generated tokens of audio.'),
    ('output_image', 'Generated tokens of images.'),
    ('web_search', 'Searches that the provider ran and bills one by one.'),
    ('file_search', 'Searches of files that the provider ran and bills one by one.'),
    ('prompt_tokens', 'All prompt tokens, cached or not.'),
    ('completion_tokens', 'All generated tokens.'),
    ('cost', 'What the provider takes, exactly, in cost_currency.'),
    ('cost_currency', 'ISO 4217; XTS is the simulator''s.'),
    ('cost_price', 'The price version that cost was computed from; NULL if it was given.'),
    ('charge', 'What the customer pays, exactly, in charge_currency: never rounded.'),
    ('charge_currency', 'ISO 4217; XTS is the simulator''s.'),
    ('charge_price', 'The price version that charge was computed from; NULL if it was given.'),
    ('held', 'What calls of unknown end could have been charged: pending, not part of charge.'),
    ('route_version', 'Version of the routes that the call was served under.'),
    ('config_version', 'Version of the configuration that the call was served under.'),
    ('replica', 'Name of the gateway process.'),
    ('spool_id', 'The spool in which the event was durable first.'),
    ('spool_epoch', 'Which opening of the spool.'),
    ('flags', 'What an operator should look at: unpriced, tier_unpriced, model_unpriced, raw_dropped, over_hold, repaired.'),
    ('kind', 'Kind of the event; docs/events.md describes each.'),
    ('supersedes', 'The one event that this one replaced.'),
    ('superseded_by', 'The event that replaced this one.'),
    ('superseded_at_index', 'Index of the event that replaced this one.'),
    ('superseded_index', 'Index of the event that this one replaced.'),
    ('stands', 'True if nothing replaced this event.'),
    ('basis', 'What a correction goes by: rerate, provider, waive, estimate, manual; in audit.corrections also completion, for the end of a call that had been taken for lost.'),
    ('reason', 'Why, in the words of who did it.'),
    ('rejected.reason', 'Why the ledger could not take it.'),
    ('ledger.reason', 'Why it is frozen.'),
    ('author', 'Who did it: user:<id>, key:<id>, system:<what> or operator:<login>. NULL for a call, whose key says it.'),
    ('old_charge', 'The charge before.'),
    ('new_charge', 'The charge after.'),
    ('charge_difference', 'By how much more is owed; less if it is negative.'),
    ('old_cost', 'The cost before.'),
    ('new_cost', 'The cost after.'),
    ('cost_difference', 'By how much more the provider takes.'),
    ('old_charge_price', 'The price version of the charge before.'),
    ('new_charge_price', 'The price version of the charge after.'),
    ('day', 'Day in UTC.'),
    ('calls', 'Number of calls.'),
    ('unknown', 'Calls whose end nobody knows, settled or not.'),
    ('body', 'The event''s public body.'),
    ('name', 'Name that people gave; NULL if there is none or it was erased.'),
    ('projections.name', 'Name of the projection; one that ends in .shadow is a rebuild in progress.'),
    ('partitions.name', 'Name of the table.'),
    ('created_at', 'Since when it exists.'),
    ('created_by', 'Who made it.'),
    ('what', 'What was done to the key: issued or revoked.'),
    ('expires_at', 'When the key stops working by itself; NULL is never.'),
    ('hint', 'Last characters of the key.'),
    ('issued_at', 'From when on the key works.'),
    ('issued_by', 'Who issued it.'),
    ('revoked_at', 'When it was revoked.'),
    ('revoked_by', 'Who revoked it.'),
    ('published_at', 'When it was published: it holds for calls admitted from then on.'),
    ('price', 'Id of the price version, as in cost_price and charge_price.'),
    ('number', 'Number of the version, from 1.'),
    ('digest', 'SHA-256 in hex.'),
    ('projections.digest', 'Sum of the rows'' hashes, modulo 2^64.'),
    ('builtin', 'True if it is the list that the program brings along.'),
    ('models', 'How many models it prices.'),
    ('list', 'cost: what the provider takes; charge: what the customer pays.'),
    ('valid_from', 'Calls admitted from then on …'),
    ('valid_to', '… and before then have this rate.'),
    ('over', 'Calls with more prompt tokens than this …'),
    ('up_to', '… and at most this many have this rate; NULL is any number.'),
    ('meter', 'What is counted: a column of audit.calls.'),
    ('rate', 'Price of a million.'),
    ('own', 'True if the list names the meter; else the rate is that of the meter that it falls back to.'),
    ('currency', 'ISO 4217.'),
    ('size', 'Number of events.'),
    ('made_at', 'When it was signed.'),
    ('origin', 'Name of the log.'),
    ('root', 'Root hash of the tree, base64.'),
    ('note', 'The signed note, C2SP tlog-checkpoint.'),
    ('covers_to', 'When the last event that it covers was recorded.'),
    ('lag', 'How long that event waited for it.'),
    ('frozen', 'True: nothing can be appended.'),
    ('sealed', 'How many events the last checkpoint covers; NULL if there is none.'),
    ('unsealed', 'How many it does not cover yet.'),
    ('sealed_at', 'When the last checkpoint was signed.'),
    ('received_at', 'When it came.'),
    ('sqlstate', 'Postgres''s code, if Postgres refused it.'),
    ('bytes', 'Size in bytes.'),
    ('answered_by', 'Id of the event that settled it.'),
    ('answered_at', 'When it was settled.'),
    ('answered_author', 'Who settled it.'),
    ('answer', 'What it was and what was done about it.'),
    ('parts', 'How many events lost their erasable part.'),
    ('through', 'Events with a lower index were looked at.'),
    ('indexes', 'The events that lost their erasable part, by index.'),
    ('epoch', 'How often the spool has been opened.'),
    ('last_seen', 'When its gateway last reported it.'),
    ('unshipped', 'Completions that were durable in it and not here at last_seen.'),
    ('oldest_unshipped', 'Since when the oldest of those waited.'),
    ('drained_index', 'All that it held when it was last empty stands below this index.'),
    ('lost', 'An operator declared it lost.'),
    ('projections.index', 'Every event with a lower index is in its rows.'),
    ('version', 'Version of the fold that made the rows.'),
    ('behind', 'How many events it has not folded yet.'),
    ('updated_at', 'When it last folded.'),
    ('parked', 'Events that it left out because they could not be folded; each is an alarm.'),
    ('checked_at', 'When its rows were last compared with a fold of the whole ledger.'),
    ('checked_index', 'At which index.'),
    ('check_ok', 'Whether they were equal.'),
    ('check_difference', 'What was not.'),
    ('first_index', 'The first index that belongs there.'),
    ('last_index', 'The last index that belongs there.'),
    ('closed', 'It is full, and bounded in time.'),
    ('bounds', 'Its bounds on recorded_at.'),
    ('events_estimate', 'About how many events it has; NULL if that was never counted.')
) d(name, description);
DROP FUNCTION audit.describe(text, text);

COMMENT ON SCHEMA audit IS 'What auditors read; docs/audit.md has questions and answers. Views and columns are only ever added: see audit.version.';

-- The default privileges of the schema let the auditor and the writer read its
-- views. The reader sees what has nothing private in it.
SELECT manti.allow('reader', 'USAGE', 'SCHEMA audit');
SELECT manti.allow('reader', 'SELECT', 'TABLE audit.version, audit.calls, audit.spend_by_day, audit.control_events, audit.orgs, audit.projects, audit.checkpoints,
    audit.ledger, audit.erasures, audit.spools, audit.projections, audit.partitions');

-- migrate:down

SELECT manti.deny('reader', 'USAGE', 'SCHEMA audit');
DROP VIEW audit.partitions, audit.projections, audit.spools, audit.erasures, audit.rejected, audit.ledger, audit.checkpoints, audit.rates, audit.price_history,
    audit.keys, audit.key_history, audit.projects, audit.orgs, audit.control_events, audit.spend_by_day, audit.corrections, audit.call_history, audit.calls, audit.version;
DROP FUNCTION audit.rates_of(bytea);
DROP FUNCTION audit.body(bytea);
DROP FUNCTION audit.part(bytea);
COMMENT ON SCHEMA audit IS NULL;
