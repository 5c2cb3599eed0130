-- migrate:up

-- Events that a projection could not fold. It goes on behind them; every figure
-- that one of them touches is marked until a rebuild folds it.

CREATE TABLE projections.parked (
    projection text        NOT NULL,
    index      bigint      NOT NULL CHECK (index >= 0),
    id         uuid        NOT NULL,
    kind       text        NOT NULL,
    orgs       uuid[]      NOT NULL,
    key_id     uuid,
    at         timestamptz NOT NULL,
    error      text        NOT NULL,
    parked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (projection, index)
);
COMMENT ON TABLE projections.parked IS 'Events that a projection left out because they could not be folded. Each is an alarm until manti rebuild, by a program that can, folds it. A name that ends in .shadow belongs to a rebuild in progress.';
COMMENT ON COLUMN projections.parked.orgs IS 'Whose figures lack it: the organisation of the event, and of the one that it supersedes. All zeros stands for none.';
COMMENT ON COLUMN projections.parked.key_id IS 'The key that the event is about.';
COMMENT ON COLUMN projections.parked.at IS 'When the call was admitted; of other events, when it happened.';
COMMENT ON COLUMN projections.parked.error IS 'Why it could not be folded.';

CREATE TABLE projections.checks (
    projection text        NOT NULL,
    night      date        NOT NULL,
    started_at timestamptz NOT NULL,
    checked_at timestamptz,
    index      bigint,
    parked     bigint,
    ok         boolean,
    difference text,
    PRIMARY KEY (projection, night)
);
COMMENT ON TABLE projections.checks IS 'The nightly comparison of each projection with a fold of the whole ledger, one row a night whatever the number of replicas.';
COMMENT ON COLUMN projections.checks.night IS 'The day, in UTC, at whose 03:00 it fell due.';
COMMENT ON COLUMN projections.checks.started_at IS 'When a replica took it on; one that has not ended hours later is taken on anew.';
COMMENT ON COLUMN projections.checks.index IS 'The index at which both were compared.';
COMMENT ON COLUMN projections.checks.parked IS 'How many events were left out because they are parked.';
COMMENT ON COLUMN projections.checks.ok IS 'False: rows are not what the ledger says, and difference says which. NULL: not ended yet, or it could not be compared, and difference says why.';

-- What a range of events takes back is found by the place of the correction.
CREATE INDEX supersedes_by_index ON ledger.supersedes (by_index);

-- From version 2 on the folds of calls know corrections. No ledger has one yet,
-- so the rows are right already; only older programs must not go on with them.
UPDATE projections.checkpoints SET version = 2 WHERE name IN ('balances', 'requests', 'usage') AND version = 1;

-- migrate:down

UPDATE projections.checkpoints SET version = 1 WHERE name IN ('balances', 'requests', 'usage') AND version = 2;
DROP INDEX ledger.supersedes_by_index;
DROP TABLE projections.checks, projections.parked;
