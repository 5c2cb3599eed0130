package projections

// calls are the calls of a batch, and replaced the events that these supersede,
// whose figures the batch takes back: items for FROM, of a statement with the
// parameters $1 = from and $2 = to, with all columns of ledger.events.
//
// The ledger takes no event that supersedes what doesn't stand before it, so
// what is taken back has been put in before, or is in the same batch.
//
// Lookups are scalar subqueries, each one probe of an index: no plan may ever
// scan the ledger for the sake of a correction.
const (
	calls = `(
		SELECT * FROM ledger.events WHERE index >= $1 AND index < $2 AND kind IN ('RequestCompleted', 'UsageCorrected')
	)`
	replaced = `(
		SELECT old.* FROM ledger.events new, LATERAL (
			SELECT * FROM ledger.events
			WHERE index = (SELECT ids.index FROM ledger.ids WHERE ids.id = new.supersedes) AND kind IN ('RequestCompleted', 'UsageCorrected')
			OFFSET 0
		) old
		WHERE new.index >= $1 AND new.index < $2 AND new.supersedes IS NOT NULL AND new.kind IN ('RequestCompleted', 'UsageCorrected')
	)`
)

// callOrg and callProject are those of an event x. A call should have both; one
// without must not stop a fold.
const (
	callOrg     = `COALESCE(x.org_id, '` + noID + `')`
	callProject = `COALESCE(x.project_id, '` + noID + `')`
)

// noID stands in keys of tables for an id that isn't there.
const noID = `00000000-0000-0000-0000-000000000000`

// admittedAt is when the call of an event x was admitted: the time of the
// first event about it, if that stands before x, else x's own.
const admittedAt = `CASE WHEN x.request_id = x.id THEN x.at ELSE COALESCE((
	SELECT first.at FROM ledger.events first
	WHERE first.index = (SELECT ids.index FROM ledger.ids WHERE ids.id = x.request_id) AND first.index < x.index), x.at) END`
