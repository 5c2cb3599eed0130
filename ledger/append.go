package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"manti/db"
	"manti/domain"
)

// Result says what became of each event of an Append: Appended + Duplicates +
// len(Rejected) is their number.
type Result struct {
	// Appended counts the events that are in the ledger now and weren't before.
	Appended int
	// Duplicates counts those that were there already, byte for byte.
	Duplicates int
	// Rejected are those that can't be in the ledger. Each is an alarm; its
	// record stands in ledger.rejected.
	Rejected []Rejection
	// Size is the ledger's size after the last commit, 0 if nothing was sent.
	Size int64
	// RecordedAt is when the last events were recorded.
	RecordedAt time.Time
}

// Append takes the events into the ledger: each that isn't there yet, in this
// order, in one transaction. It returns after the commit is durable.
//
// An event whose id is there with other bytes is rejected, and so is one that
// can't be decoded, that supersedes what isn't there or is superseded already,
// or that Postgres refuses (SQLSTATE 22, 23). To find the latter the batch is
// cut in halves, so that it may take several transactions; the rejected go to
// ledger.rejected, the others are appended.
//
// With an error, some may be appended and some not: send all of them again. If
// it is ErrOutage, that may help by itself.
func (l *Ledger) Append(ctx context.Context, events []domain.Encoded) (Result, error) {
	p := l.prepare(events)
	defer l.release(p)
	return l.write(ctx, p)
}

// prepared is all of an append that needs no database.
type prepared struct {
	mem        *arena
	rounds     [][]row
	rejections []rejection
}

// prepare makes the events ready. release takes the memory back.
func (l *Ledger) prepare(events []domain.Encoded) *prepared {
	mem, ok := l.arenas.Get().(*arena)
	if !ok {
		mem = new(arena)
	}
	p := &prepared{mem: mem}
	p.rounds, p.rejections = l.newRows(events, mem)
	return p
}

func (l *Ledger) release(p *prepared) { l.arenas.Put(p.mem) }

// write appends what is prepared; it may be called again after an error.
func (l *Ledger) write(ctx context.Context, p *prepared) (Result, error) {
	var res Result
	rejections := slices.Clone(p.rejections)
	for _, rows := range p.rounds {
		if err := l.appendRows(ctx, rows, &res, &rejections); err != nil {
			return res, wrap("append", err)
		}
	}
	if err := l.reject(ctx, rejections); err != nil {
		return res, wrap("append", err)
	}
	for _, r := range rejections {
		res.Rejected = append(res.Rejected, r.Rejection)
	}
	return res, nil
}

// newRows makes the events ready, in rounds that have each id once: whether the
// second of an id is the same event is known when the first is in the ledger.
func (l *Ledger) newRows(events []domain.Encoded, mem *arena) (rounds [][]row, rejections []rejection) {
	mem.reset()
	rounds = append(rounds, make([]row, 0, len(events)))
	seen := make(map[domain.EventID]int, len(events))
	for _, enc := range events {
		r, err := l.newRow(enc, mem)
		if err != nil {
			rejections = append(rejections, rejectRow(r, "can't be read: "+err.Error(), ""))
			continue
		}
		round := seen[enc.ID]
		seen[enc.ID]++
		if round == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[round] = append(rounds[round], r)
	}
	return rounds, rejections
}

// appendRows adds to res and rejections what is committed.
func (l *Ledger) appendRows(ctx context.Context, rows []row, res *Result, rejections *[]rejection) error {
	if len(rows) == 0 {
		return nil
	}
	done, err := l.appendOnce(ctx, rows, false)
	if isDuplicateID(err) {
		done, err = l.appendOnce(ctx, rows, true)
	}
	switch {
	case err == nil:
		res.add(done.Result)
		*rejections = append(*rejections, done.rejections...)
		return nil
	case !isRefusal(err):
		return err
	case len(rows) == 1:
		*rejections = append(*rejections, rejectRow(rows[0], err.Error(), db.SQLState(err)))
		return nil
	}
	half := len(rows) / 2
	if err := l.appendRows(ctx, rows[:half], res, rejections); err != nil {
		return err
	}
	return l.appendRows(ctx, rows[half:], res, rejections)
}

func (r *Result) add(more Result) {
	r.Appended += more.Appended
	r.Duplicates += more.Duplicates
	if more.Size > 0 {
		r.Size, r.RecordedAt = more.Size, more.RecordedAt
	}
}

// appended is what one transaction did.
type appended struct {
	Result
	rejections []rejection
}

func (l *Ledger) appendOnce(ctx context.Context, rows []row, dedup bool) (done appended, err error) {
	partitioned := int64(0)
	err = db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a, err := l.lockHead(ctx, tx)
		if err != nil {
			return err
		}
		if err := a.append(ctx, rows, dedup); err != nil {
			return err
		}
		done, partitioned = a.appended, a.partitioned
		return nil
	})
	if err != nil {
		return appended{}, err
	}
	l.sawPartition(partitioned)
	return done, nil
}

// isDuplicateID reports whether an id was there already.
func isDuplicateID(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == stateUnique && strings.HasPrefix(pgErr.TableName, "ids")
}

// The SQLSTATEs of classes 22 and 23 that aren't always about a record.
const (
	stateUnique     = "23505"
	stateCheck      = "23514"
	stateBadBinary  = "22P03"
	stateBadCopying = "22P04"
)

// isRefusal reports whether Postgres refused a record for what it is. It isn't
// the record's fault if an index is given twice, a partition is missing, or the
// columns aren't of the types that this program writes: then everything would
// be rejected, one by one.
func isRefusal(err error) bool {
	switch db.SQLState(err) {
	case stateUnique:
		return db.Constraint(err) == "supersedes_pkey"
	case stateCheck:
		return db.Constraint(err) != ""
	case stateBadBinary, stateBadCopying:
		return false
	}
	return db.IsRefusal(err)
}
