package verify

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
)

// notices are events that say something of others. They are of control kinds,
// which an index finds; that they are what was signed is checked with all others.
func (r *run) readNotices(ctx context.Context, tx pgx.Tx) error {
	r.forgotten, r.answers = map[int64]bool{}, map[string]answer{}
	var index int64
	var kind string
	var canonical []byte
	var at time.Time
	kinds := []string{string(domain.KindPersonForgotten), string(domain.KindRejectionAnswered), string(domain.KindOriginStarted)}
	return each(ctx, tx, "events of control kinds", []any{&index, &kind, &at, &canonical}, func() error {
		public, _, _, err := domain.SplitCanonical(canonical)
		if err != nil {
			return nil // it is found when it is checked
		}
		event, err := domain.Decode(domain.Encoded{Kind: domain.Kind(kind), Public: public})
		canonical = nil // Decode may share its memory
		if err != nil {
			return nil
		}
		r.notice(index, at, event)
		return nil
	}, `SELECT index, kind, recorded_at, canonical FROM ledger.events WHERE control AND kind = ANY($1) ORDER BY index`, kinds)
}

func (r *run) notice(index int64, at time.Time, e domain.Event) {
	switch b := e.Body.(type) {
	case *domain.PersonForgotten:
		for _, i := range b.Indexes {
			r.forgotten[i] = true
		}
	case *domain.RejectionAnswered:
		r.answers[b.Digest] = answer{index, e.ID}
	case *domain.OriginStarted:
		r.noticeOrigin(index, at, e, b)
	}
}

// erasureAtOnce is how many forgotten parts one query looks for.
const erasureAtOnce = 10_000

// checkErasures sees to it that what was forgotten is gone: a restore brings it
// back.
func (r *run) checkErasures(ctx context.Context, tx pgx.Tx) error {
	var all []int64
	for index := range r.forgotten {
		all = append(all, index)
	}
	slices.Sort(all)
	f := Finding{Table: tableErasable, Problem: "the part was erased and is here again"}
	for some := range slices.Chunk(all, erasureAtOnce) {
		err := each(ctx, tx, "erased parts", []any{&f.Index}, func() error { r.found.add(f); return nil },
			`SELECT index FROM ledger.erasable WHERE index = ANY($1) ORDER BY index`, some)
		if err != nil {
			return err
		}
	}
	r.report.Erased = int64(len(all))
	return nil
}
