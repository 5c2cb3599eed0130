-- migrate:up

-- Calls that processes without a disk of their own have open
-- (MANTI_DURABILITY=postgres). This is state, not the ledger: a row goes when
-- its call's event is there.
CREATE TABLE manti.sessions (
    id        uuid        PRIMARY KEY,
    replica   text        NOT NULL,
    last_seen timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE manti.sessions IS 'Processes that record calls in Postgres alone. One that hasn''t been seen for a minute is taken for dead, and loses its row.';

CREATE TABLE manti.open_calls (
    id      uuid  PRIMARY KEY,
    session uuid  NOT NULL,
    record  bytea NOT NULL
);
CREATE INDEX open_calls_session ON manti.open_calls (session);
COMMENT ON TABLE manti.open_calls IS 'Calls that such a process has begun. Those whose session is gone are recorded as unknown.';
COMMENT ON COLUMN manti.open_calls.record IS 'What the event of outcome unknown is made of.';

SELECT manti.allow('writer', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE manti.sessions, manti.open_calls');
SELECT manti.allow('auditor', 'SELECT', 'TABLE manti.sessions, manti.open_calls');

-- migrate:down

DROP TABLE manti.open_calls;
DROP TABLE manti.sessions;
