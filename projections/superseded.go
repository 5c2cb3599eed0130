package projections

// callVersion is the version of the folds of calls. From 2 on they know
// corrections: an older program, which would pass them over, is refused.
const callVersion = 2

// calls are the calls of a batch, and replaced the events that these supersede,
// whose figures the batch takes back: items for FROM, of a statement with the
// parameters $1 = from and $2 = to, with all columns of ledger.events.
//
// The ledger takes no event that supersedes what doesn't stand before it, so
// what is taken back has been put in before, or is in the same batch. An event
// that is parked has never been put in: in its place stands what it would have
// taken back itself.
//
// Lookups are scalar subqueries, each one probe of an index: no plan may ever
// scan the ledger for the sake of a correction.
const (
	calls = `(
		SELECT * FROM ledger.events WHERE index >= $1 AND index < $2 AND kind IN ` + callKinds + `
	)`
	replaced = `(
		SELECT old.* FROM ledger.supersedes s, LATERAL (
			WITH RECURSIVE chain (index, supersedes, parked) AS (
				SELECT e.index, e.supersedes, e.index IN {parked} FROM ledger.events e
				WHERE e.index = (SELECT ids.index FROM ledger.ids WHERE ids.id = s.id)
				UNION ALL
				SELECT e.index, e.supersedes, e.index IN {parked} FROM chain c, ledger.events e
				WHERE c.parked AND e.index = (SELECT ids.index FROM ledger.ids WHERE ids.id = c.supersedes)
			)
			SELECT * FROM ledger.events
			WHERE index = (SELECT chain.index FROM chain WHERE NOT parked) AND kind IN ` + callKinds + `
			OFFSET 0
		) old
		WHERE s.by_index >= $1 AND s.by_index < $2
			AND (SELECT new.kind FROM ledger.events new WHERE new.index = s.by_index) IN ` + callKinds + `
	)`
)

// callKinds are the kinds that say what a call used and costs: see
// domain.Kind.IsCall.
const callKinds = `('RequestCompleted', 'UsageCorrected')`

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
