package ledger

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger/spool"
)

// ErrBehind is the ErrFrozen of a ledger that lacks entries which it had, or has
// others in their places: one that was restored from a backup, a standby that
// lagged and was promoted, or another database. Recover puts that right.
var ErrBehind = fmt.Errorf("%w: ledger behind", ErrFrozen)

// behindPrefix begins the reason of a head that is frozen because of that.
const behindPrefix = "ledger behind: "

// frozenFor is the error of a head that is frozen.
func frozenFor(reason string) error {
	if behind, ok := strings.CutPrefix(reason, behindPrefix); ok {
		return fmt.Errorf("%w: %s", ErrBehind, behind)
	}
	return fmt.Errorf("%w: %s", ErrFrozen, reason)
}

// A mismatch is how a ledger differs from the one that was seen.
type mismatch struct {
	seen spool.Seen
	size int64
	// differs: it is long enough, but has another entry where the last one was.
	differs bool
	// other: its first entry is another one. It isn't this ledger at all.
	other bool
}

func (m mismatch) reason() string {
	switch {
	case m.other:
		return fmt.Sprintf("%sthis is another ledger: it has %d entries and another one at index 0 than the ledger of %d entries that was here; is DATABASE_URL right? Another ledger needs another MANTI_DATA",
			behindPrefix, m.size, m.seen.Size)
	case m.size == 0:
		return fmt.Sprintf("%sthis ledger is empty, but it had %d entries on %s; is DATABASE_URL right? If it is, `manti recover` refills it; another ledger needs another MANTI_DATA",
			behindPrefix, m.seen.Size, m.seen.At.Format(time.RFC3339))
	case m.differs:
		return fmt.Sprintf("%sit has %d entries, but another one at index %d than it had on %s, when it had %d; `manti recover` says where it differs",
			behindPrefix, m.size, m.seen.Size-1, m.seen.At.Format(time.RFC3339), m.seen.Size)
	}
	return fmt.Sprintf("%sit has %d entries, but had %d on %s; `manti recover` refills it from the spools",
		behindPrefix, m.size, m.seen.Size, m.seen.At.Format(time.RFC3339))
}

// queueLeaf asks for the last leaf that was seen, NULL if there is none there.
func queueLeaf(batch *pgx.Batch, seen spool.Seen, leaf *[]byte) {
	const query = `SELECT (SELECT leaf FROM ledger.events WHERE index = $1)`
	if seen.Size > 0 {
		batch.Queue(query, seen.Size-1).QueryRow(func(row pgx.Row) error { return row.Scan(leaf) })
	}
}

// compare holds a head, with the leaf of the last entry that was seen, against
// what was seen.
func compare(ctx context.Context, q Querier, seen spool.Seen, head Head, leaf []byte) (m mismatch, whole bool, err error) {
	const first = `SELECT leaf FROM ledger.events WHERE index = 0`
	if seen.Size == 0 || head.Size >= seen.Size && (seen.Leaf == [domain.HashSize]byte{} || bytes.Equal(leaf, seen.Leaf[:])) {
		return mismatch{}, true, nil
	}
	begun, err := beganAnew(ctx, q, seen)
	if err != nil || begun {
		return mismatch{}, begun, err
	}
	m = mismatch{seen: seen, size: head.Size, differs: head.Size >= seen.Size}
	if head.Size > 0 && seen.First != [domain.HashSize]byte{} {
		var leaf []byte
		if err := q.QueryRow(ctx, first).Scan(&leaf); err != nil {
			return m, false, fmt.Errorf("read the first leaf: %w", err)
		}
		m.other = !bytes.Equal(leaf, seen.First[:])
	}
	return m, false, nil
}

// beganAnew reports whether an operator has accepted, after this was seen, that
// the ledger isn't what it was.
func beganAnew(ctx context.Context, q Querier, seen spool.Seen) (begun bool, err error) {
	const query = `SELECT EXISTS (SELECT FROM ledger.events WHERE control AND kind = $1 AND recorded_at > $2)`
	if err := q.QueryRow(ctx, query, string(domain.KindOriginStarted), seen.At).Scan(&begun); err != nil {
		return false, fmt.Errorf("look for a new origin: %w", err)
	}
	return begun, nil
}

// checkHead refuses an append onto a ledger that isn't what was seen. Who calls
// it holds the head.
func (l *Ledger) checkHead(ctx context.Context, tx pgx.Tx, seen spool.Seen, head Head, leaf []byte) error {
	w := l.watch.Load()
	if w == nil {
		return nil
	}
	m, whole, err := compare(ctx, tx, seen, head, leaf)
	if err != nil || whole {
		return err
	}
	w.wake()
	return frozenFor(m.reason())
}

// seen is the highest head that this process knows of, zero if nobody watches.
func (l *Ledger) seen() spool.Seen {
	if w := l.watch.Load(); w != nil {
		return w.Seen()
	}
	return spool.Seen{}
}

// saw notes a head that has been committed.
func (l *Ledger) saw(head spool.Head) {
	if w := l.watch.Load(); w != nil {
		w.see(head)
	}
}
