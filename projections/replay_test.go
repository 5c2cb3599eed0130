package projections_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/projections"
)

// Whatever the index, what is replayed is what a plain computation over the
// events below it gives, corrections included.
func TestReplayEqualsARecomputation(t *testing.T) {
	t.Parallel()
	b, w := newBench(t), newWorld(11)
	for range 4 {
		var events []domain.Event
		for range 15 {
			if w.rand.IntN(3) == 0 {
				events = append(events, w.correction())
			} else {
				events = append(events, w.call())
			}
		}
		b.append(t, events...)
	}
	b.catchUp(t, money()...)
	before := b.rows(t, "balances")
	indexes := []int{0, len(w.events)}
	for range 6 {
		indexes = append(indexes, w.rand.IntN(len(w.events)))
	}
	for _, index := range indexes {
		t.Run(fmt.Sprint("at ", index), func(t *testing.T) {
			at, err := projections.AtIndex(t.Context(), b.pool, int64(index))
			if err != nil {
				t.Fatal(err)
			}
			err = projections.Replay(t.Context(), b.pool, at, func(_ context.Context, then *projections.Past) error {
				w.before(index).check(t, past(then))
				return nil
			}, nil, money()...)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	if diff := cmp.Diff(before, b.rows(t, "balances")); diff != "" {
		t.Errorf("a replay has changed the live rows:\n%s", diff)
	}
	w.check(t, b.now())
}

// At the head, what is replayed equals the live rows, to the byte.
func TestReplayAtTheHeadEqualsTheLiveRows(t *testing.T) {
	t.Parallel()
	b, _ := filled(t)
	head, _ := b.checkpoint(t, "balances")
	err := projections.Replay(t.Context(), b.pool, projections.Moment{Index: head}, func(ctx context.Context, then *projections.Past) error {
		for _, table := range []string{"balances", "keys", "orgs", "prices", "projects", "requests", "usage"} {
			if diff := cmp.Diff(b.rows(t, table), b.rowsOf(t, then, table)); diff != "" {
				t.Errorf("%s (-live +replayed):\n%s", table, diff)
			}
		}
		keys, err := projections.ListKeys(ctx, then, domain.OrgID{})
		if err != nil || len(keys) != 1 || keys[0].Revoked.IsZero() {
			t.Errorf("keys %+v, %v", keys, err)
		}
		return err
	}, nil, projections.All()...)
	if err != nil {
		t.Fatal(err)
	}
}

// A key that was revoked later is as it was: not revoked.
func TestReplayOfAKeyBeforeItWasRevoked(t *testing.T) {
	t.Parallel()
	b, _ := filled(t)
	var revoked int64
	if err := b.pool.QueryRow(t.Context(), `SELECT index FROM ledger.events WHERE kind = 'KeyRevoked'`).Scan(&revoked); err != nil {
		t.Fatal(err)
	}
	for index, want := range map[int64]bool{revoked: false, revoked + 1: true} {
		err := projections.Replay(t.Context(), b.pool, projections.Moment{Index: index}, func(ctx context.Context, then *projections.Past) error {
			keys, err := projections.ListKeys(ctx, then, domain.OrgID{})
			if err != nil || len(keys) != 1 || keys[0].Revoked.IsZero() == want {
				t.Errorf("at %d: keys %+v, %v", index, keys, err)
			}
			return err
		}, nil, projections.Keys())
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A time means every event that was recorded until then.
func TestMoments(t *testing.T) {
	t.Parallel()
	b, w := newBench(t), newWorld(12)
	var recorded []time.Time // by index
	if m, err := projections.AtTime(t.Context(), b.pool, time.Now()); err != nil || m.Index != 0 {
		t.Errorf("an empty ledger: %+v, %v", m, err)
	}
	for _, n := range []int{1, 4, 1, 7, 2} {
		var events []domain.Event
		for range n {
			events = append(events, w.call())
		}
		b.append(t, events...)
		var at time.Time
		if err := b.pool.QueryRow(t.Context(), `SELECT recorded_at FROM ledger.head`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		for range n {
			recorded = append(recorded, at.UTC())
		}
	}
	for i, at := range recorded {
		for shift, in := range map[time.Duration]bool{-time.Microsecond: false, 0: true, time.Microsecond: true} {
			want := int64(0)
			for _, r := range recorded {
				if !r.After(at.Add(shift)) {
					want++
				}
			}
			m, err := projections.AtTime(t.Context(), b.pool, at.Add(shift))
			if err != nil || m.Index != want || (m.Index > int64(i)) != in || m.RecordedAt.After(at.Add(shift)) {
				t.Errorf("%v after event %d: %+v, %v, want index %d", shift, i, m, err, want)
			}
		}
	}
	size := int64(len(recorded))
	for _, index := range []int64{-1, size + 1} {
		if _, err := projections.AtIndex(t.Context(), b.pool, index); !errors.Is(err, projections.ErrNoMoment) {
			t.Errorf("index %d: %v", index, err)
		}
	}
	if m, err := projections.AtIndex(t.Context(), b.pool, size); err != nil || m != (projections.Moment{Index: size, RecordedAt: recorded[size-1]}) {
		t.Errorf("the head: %+v, %v", m, err)
	}
}
