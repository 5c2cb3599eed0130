package projections

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger"
)

// CallFilter chooses calls as they stand. Zero fields choose all.
type CallFilter struct {
	// From and To bound the time of admission: from, and before.
	From, To time.Time
	Org      domain.OrgID
	Key      domain.KeyID
	Model    string // that served
	// Unsettled chooses only calls of unknown end that nothing has settled.
	Unsettled bool
}

// correctBatch is how many calls one command corrects: few enough that it
// holds the head for a tenth of a second or so.
const correctBatch = 1000

// correctWindow is how many indexes one query looks through.
const correctWindow = 50_000

// Indexes are those of the calls that the filter chooses, in batches by
// ascending index, below the size that the ledger has at the beginning.
func (f CallFilter) Indexes(ctx context.Context, q ledger.Querier) iter.Seq2[[]int64, error] {
	const query = `SELECT e.index FROM ledger.events e WHERE e.index >= $1 AND e.index < $2
		AND (e.kind = 'RequestCompleted' OR e.kind = 'UsageCorrected' AND NOT $8) AND (NOT $8 OR e.outcome = 'unknown')
		AND ($3::timestamptz IS NULL OR e.at >= $3) AND ($4::timestamptz IS NULL OR e.at < $4)
		AND ($5::uuid IS NULL OR e.org_id = $5) AND ($6::uuid IS NULL OR e.key_id = $6) AND ($7 = '' OR e.model = $7)
		AND NOT EXISTS (SELECT FROM ledger.supersedes s WHERE s.id = e.id)
		ORDER BY e.index`
	return windows(ctx, q, func(from, to int64) ([]int64, error) {
		rows, err := q.Query(ctx, query, from, to, timeOrNull(f.From), timeOrNull(f.To), idOrNull(f.Org), idOrNull(f.Key), f.Model, f.Unsettled)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[int64])
	})
}

// windows goes through the ledger window by window, and yields what find finds
// there in batches.
func windows(ctx context.Context, q ledger.Querier, find func(from, to int64) ([]int64, error)) iter.Seq2[[]int64, error] {
	return func(yield func([]int64, error) bool) {
		head, err := ledger.ReadHead(ctx, q)
		if err != nil {
			yield(nil, err)
			return
		}
		for from := int64(0); from < head.Size; from += correctWindow {
			found, err := find(from, min(from+correctWindow, head.Size))
			if err != nil {
				yield(nil, fmt.Errorf("look through the events from %d: %w", from, err))
				return
			}
			for batch := range slices.Chunk(found, correctBatch) {
				if !yield(batch, nil) {
					return
				}
			}
		}
	}
}

// Batches are given indexes in batches.
func Batches(indexes []int64) iter.Seq2[[]int64, error] {
	return func(yield func([]int64, error) bool) {
		for batch := range slices.Chunk(indexes, correctBatch) {
			if !yield(batch, nil) {
				return
			}
		}
	}
}

// DryCorrect shows what an amendment of the chosen calls would do, and does
// nothing.
func DryCorrect(ctx context.Context, q ledger.Querier, a *Amendment, chosen iter.Seq2[[]int64, error]) (*CorrectionTable, error) {
	total := new(CorrectionTable)
	for indexes, err := range chosen {
		if err != nil {
			return nil, fmt.Errorf("correct: %w", err)
		}
		entries, err := ledger.ReadIndexes(ctx, q, indexes)
		if err != nil {
			return nil, fmt.Errorf("correct: %w", err)
		}
		for _, e := range entries {
			event, changed, err := a.correct(e)
			if err != nil {
				total.refuse(e, err)
			} else if changed {
				total.add(e.Event.Body, event.Body)
			}
		}
	}
	return total, nil
}

// Correct makes an amendment of the chosen calls, batch by batch, each a
// command: what is refused is left out, and counted. It may be interrupted at any
// time and called again: what was done is then found done. With an error, the
// table says what has been done for sure.
func Correct(ctx context.Context, l *ledger.Ledger, a *Amendment, chosen iter.Seq2[[]int64, error]) (*CorrectionTable, error) {
	total := new(CorrectionTable)
	for indexes, err := range chosen {
		if err != nil {
			return total, fmt.Errorf("correct: %w", err)
		}
		var done *CorrectionTable
		_, err = l.Command(ctx, nil, func(ctx context.Context, tx pgx.Tx, _ time.Time) (events []domain.Event, err error) {
			events, done, err = DecideCorrect(ctx, tx, a, indexes)
			return events, err
		})
		if err != nil {
			return total, fmt.Errorf("correct: %w", err)
		}
		total.merge(done)
	}
	return total, nil
}

// StandingCall is the index of the event by which a call stands: the last of
// those about it. id is the call's, or that of any event about it.
func StandingCall(ctx context.Context, q ledger.Querier, id domain.EventID) (int64, error) {
	const query = `WITH RECURSIVE chain AS (
			SELECT id, index FROM ledger.ids WHERE id = $1
			UNION ALL
			SELECT s.by, s.by_index FROM chain JOIN ledger.supersedes s ON s.id = chain.id
		) SELECT max(index) FROM chain`
	var index *int64
	if err := q.QueryRow(ctx, query, id).Scan(&index); err != nil {
		return 0, fmt.Errorf("look for call %s: %w", id, err)
	}
	if index == nil {
		return 0, &domain.Error{Code: domain.CodeNotFound, Field: "id", Message: "There is no such call in the ledger."}
	}
	return *index, nil
}
