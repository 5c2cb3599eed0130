package projections

// withCalls are two items for a WITH, of a statement with the parameters
// $1 = from and $2 = to. Both have the columns id, index, request_id,
// supersedes and those named.
//
//	batch     the calls among the batch's events
//	replaced  the events that these supersede, whose figures are taken back
//
// The ledger takes no event that supersedes what doesn't stand before it, so
// what is taken back has been put in before, or is in the same batch.
//
// Lookups are scalar subqueries, each one probe of an index: no plan may ever
// scan the ledger for the sake of a correction.
func withCalls(columns string) string {
	columns = "id, index, request_id, supersedes, " + columns
	return `batch AS MATERIALIZED (
		SELECT ` + columns + ` FROM ledger.events
		WHERE index >= $1 AND index < $2 AND kind = 'RequestCompleted'
	), replaced AS MATERIALIZED (
		SELECT old.* FROM batch, LATERAL (
			SELECT ` + columns + ` FROM ledger.events
			WHERE index = (SELECT ids.index FROM ledger.ids WHERE ids.id = batch.supersedes) AND kind = 'RequestCompleted'
			OFFSET 0
		) old
		WHERE batch.supersedes IS NOT NULL
	)`
}

// callOwner are the columns org_id and project_id. A call should have both; one
// without must not stop a fold.
const callOwner = `COALESCE(org_id, '` + noID + `') AS org_id, COALESCE(project_id, '` + noID + `') AS project_id`

// noID stands in keys of tables for an id that isn't there.
const noID = `00000000-0000-0000-0000-000000000000`

// admittedAt is when the call of an event x was admitted: the time of the
// first event about it, if that stands before x, else x's own.
const admittedAt = `CASE WHEN x.request_id = x.id THEN x.at ELSE COALESCE((
	SELECT first.at FROM ledger.events first
	WHERE first.index = (SELECT ids.index FROM ledger.ids WHERE ids.id = x.request_id) AND first.index < x.index), x.at) END`
