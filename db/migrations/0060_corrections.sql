-- migrate:up

-- A correction is a call's event too, and must say as much as one. No event of
-- this kind is older than the constraint, so nothing needs to be scanned for it.
ALTER TABLE ledger.events ADD CONSTRAINT events_correction CHECK (kind <> 'UsageCorrected' OR
    (request_id IS NOT NULL AND supersedes IS NOT NULL AND cost IS NOT NULL AND charge IS NOT NULL)) NOT VALID;

-- migrate:down

ALTER TABLE ledger.events DROP CONSTRAINT events_correction;
