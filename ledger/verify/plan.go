package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Chunks are whole tiles, of a few MB where everything is read.
const (
	fullChunk = 16 * tileWidth
	leafChunk = 256 * tileWidth
)

// readHead reads the ledger's end, or takes the last event's where there is none.
func (r *run) readHead(ctx context.Context, tx pgx.Tx) error {
	const query = `SELECT h.size, COALESCE(h.recorded_at, 'epoch'), COALESCE(h.frozen, false), COALESCE(h.reason, ''), e.size
		FROM (SELECT COALESCE(max(index) + 1, 0) AS size FROM ledger.events) e LEFT JOIN ledger.head h ON h.shard = 0`
	var size *int64
	var events int64
	if err := tx.QueryRow(ctx, query).Scan(&size, &r.head.RecordedAt, &r.head.Frozen, &r.head.Reason, &events); err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	r.head.RecordedAt = r.head.RecordedAt.UTC()
	if size == nil {
		size = &events
		r.found.add(Finding{Index: NoIndex, Table: "head", Column: "size", Problem: "there is no size of shard 0"})
	}
	r.head.Size, r.report.Size = *size, *size
	if r.head.Frozen {
		r.note("the head is frozen: " + r.head.Reason)
	}
	return nil
}

func (r *run) note(text string) { r.report.Notes = append(r.report.Notes, text) }

// plan cuts the indexes into chunks.
func (r *run) plan(ctx context.Context, tx pgx.Tx) error {
	since := r.cfg.Since
	if !r.cfg.SinceTime.IsZero() {
		var err error
		if since, err = r.indexAt(ctx, tx, r.cfg.SinceTime); err != nil {
			return err
		}
	}
	if since < 0 || since > r.head.Size {
		return fmt.Errorf("there is no event %d: the ledger has %d", since, r.head.Size)
	}
	if since = since / tileWidth * tileWidth; r.cfg.Sample > 0 || r.cfg.SamplePercent > 0 {
		since = r.head.Size
	}
	r.report.Since = since
	r.ranges = cut(r.ranges, 0, since, leafChunk, false)
	r.ranges = cut(r.ranges, since, r.head.Size, fullChunk, true)
	return nil
}

func cut(ranges []chunkRange, from, to, size int64, full bool) []chunkRange {
	for from < to {
		end := min(from/size*size+size, to)
		ranges = append(ranges, chunkRange{from, end, full})
		from = end
	}
	return ranges
}

// indexAt is the first event recorded at a time or later. recorded_at rises with
// the index, so it can be searched.
func (r *run) indexAt(ctx context.Context, tx pgx.Tx, t time.Time) (int64, error) {
	from, to := int64(0), r.head.Size
	for from < to {
		middle := from + (to-from)/2
		var later bool
		err := tx.QueryRow(ctx, `SELECT COALESCE((SELECT recorded_at >= $2 FROM ledger.events WHERE index = $1), false)`, middle, t).Scan(&later)
		switch {
		case err != nil:
			return 0, fmt.Errorf("look for the first event since %s: %w", t.Format(time.RFC3339), err)
		case later:
			to = middle
		default:
			from = middle + 1
		}
	}
	return from, nil
}

// sampleAtOnce is how many sampled events one query reads.
const sampleAtOnce = 1000

// sample checks everything of events chosen at random, of which all leaves were
// read before.
func (r *run) sample(ctx context.Context, tx pgx.Tx) error {
	n := r.cfg.Sample
	if p := int64(r.cfg.SamplePercent); p > 0 {
		n = max(n, (r.head.Size*p+99)/100)
	}
	if n == 0 || r.head.Size == 0 {
		return nil
	}
	chosen := choose(min(n, r.head.Size), r.head.Size)
	c := &checker{tx: tx, run: r}
	for len(chosen) > 0 {
		some := chosen[:min(sampleAtOnce, len(chosen))]
		chosen = chosen[len(some):]
		if err := c.checkSome(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// choose returns n different indexes below size, ascending. The generator is
// seeded by the system anew for each process: nobody knows which come.
func choose(n, size int64) []int64 {
	chosen := make(map[int64]struct{}, n)
	list := make([]int64, 0, n)
	for i := size - n; i < size; i++ { // Floyd's: each set of n is as likely
		pick := rand.Int64N(i + 1)
		if _, taken := chosen[pick]; taken {
			pick = i
		}
		chosen[pick] = struct{}{}
		list = append(list, pick)
	}
	slices.Sort(list)
	return list
}

// in is the condition that the index is one of these.
func in(indexes []int64) string {
	var b strings.Builder
	b.WriteString(` WHERE index = ANY('{`)
	for i, index := range indexes {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(index, 10))
	}
	b.WriteString(`}'::bigint[])`)
	return b.String()
}
