-- migrate:up

CREATE OR REPLACE VIEW audit.version AS SELECT 2 AS version;

CREATE OR REPLACE VIEW audit.spools AS
SELECT s.id AS spool_id, s.replica, s.epoch, s.last_seen, s.unshipped, s.oldest_unshipped, s.drained_index, s.lost, s.at_rest
FROM ledger.spools s;
COMMENT ON VIEW audit.spools IS 'Every spool that ever shipped to this ledger, as it was last seen. One that is not seen any more and was not at rest may hold calls that are not here.';
COMMENT ON COLUMN audit.spools.at_rest IS 'It was closed in order when it was last seen, with nothing left to ship and no call open.';

-- Projections of control events pass over calls: they are behind only if there is
-- a control event that they have not folded.
CREATE OR REPLACE VIEW audit.projections AS
SELECT c.name, c.version, c.index,
    CASE WHEN split_part(c.name, '.', 1) IN ('keys', 'orgs', 'prices') AND NOT EXISTS (SELECT FROM ledger.events e WHERE e.control AND e.index >= c.index) THEN 0
        ELSE h.size - c.index END AS behind,
    c.updated_at, encode(c.digest, 'hex') AS digest,
    (SELECT count(*) FROM projections.parked p WHERE p.projection = c.name) AS parked,
    k.checked_at, k.index AS checked_index, k.ok AS check_ok, k.difference AS check_difference
FROM projections.checkpoints c
CROSS JOIN ledger.head h
LEFT JOIN LATERAL (SELECT * FROM projections.checks k WHERE k.projection = c.name AND k.checked_at IS NOT NULL ORDER BY k.night DESC LIMIT 1) k ON true
WHERE h.shard = 0;
COMMENT ON COLUMN audit.projections.behind IS 'How many events it has not folded yet; 0 if none of them is of a kind that it folds.';

-- migrate:down

CREATE OR REPLACE VIEW audit.projections AS
SELECT c.name, c.version, c.index, h.size - c.index AS behind, c.updated_at, encode(c.digest, 'hex') AS digest,
    (SELECT count(*) FROM projections.parked p WHERE p.projection = c.name) AS parked,
    k.checked_at, k.index AS checked_index, k.ok AS check_ok, k.difference AS check_difference
FROM projections.checkpoints c
CROSS JOIN ledger.head h
LEFT JOIN LATERAL (SELECT * FROM projections.checks k WHERE k.projection = c.name AND k.checked_at IS NOT NULL ORDER BY k.night DESC LIMIT 1) k ON true
WHERE h.shard = 0;
COMMENT ON COLUMN audit.projections.behind IS 'How many events it has not folded yet.';

DROP VIEW audit.spools;
CREATE VIEW audit.spools AS
SELECT s.id AS spool_id, s.replica, s.epoch, s.last_seen, s.unshipped, s.oldest_unshipped, s.drained_index, s.lost
FROM ledger.spools s;
SELECT manti.allow('reader', 'SELECT', 'TABLE audit.spools');

CREATE OR REPLACE VIEW audit.version AS SELECT 1 AS version;
