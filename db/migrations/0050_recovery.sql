-- migrate:up

-- Entries that no spool had first, or not as they are: those of commands and
-- jobs. Every replica copies them into its spool, in the order of their indexes.
CREATE INDEX events_spoolless ON ledger.events (index) WHERE spool_id IS NULL OR kind <> 'RequestCompleted' OR supersedes IS NOT NULL;

ALTER TABLE ledger.spools ADD COLUMN at_rest boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN ledger.spools.at_rest IS 'It was closed in order when it was last seen, with nothing left to ship and no call open. A spool that is not seen any more and not at rest may hold calls that are not here.';
UPDATE ledger.spools SET at_rest = unshipped = 0;

-- migrate:down

ALTER TABLE ledger.spools DROP COLUMN at_rest;
DROP INDEX ledger.events_spoolless;
