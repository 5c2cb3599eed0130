-- migrate:up
CREATE TABLE manti.settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);
SELECT manti.allow('writer', 'SELECT, INSERT', 'TABLE manti.settings');
COMMENT ON TABLE manti.settings IS 'What all replicas must agree on: a check value of MANTI_SECRET, never the secret.';

-- migrate:down
DROP TABLE manti.settings;
