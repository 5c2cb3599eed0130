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
	"manti/ledger/internal/row"
	"manti/ledger/spool"
)

// A Place is where an event stands in the ledger.
type Place struct {
	// Index is NoIndex for an event that isn't in the ledger.
	Index int64
	// RecordedAt is when the ledger took it, in whole microseconds.
	RecordedAt time.Time
}

// NoIndex is the index of what was rejected.
const NoIndex = -1

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
	// Places has one for each event given, in the same order: for a duplicate the
	// one it has had since it was appended, NoIndex for what was rejected. After
	// an error those that aren't known to be in the ledger have NoIndex too.
	Places []Place
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

// write appends what is prepared; it may be called again after an error.
func (l *Ledger) write(ctx context.Context, p *prepared) (Result, error) {
	res := Result{Places: make([]Place, p.given)}
	for i := range res.Places {
		res.Places[i].Index = NoIndex
	}
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

// appendRows adds to res and rejections what is committed.
func (l *Ledger) appendRows(ctx context.Context, rows []row.Row, res *Result, rejections *[]rejection) error {
	if len(rows) == 0 {
		return nil
	}
	done, err := l.appendOnce(ctx, rows, false)
	if isDuplicateID(err) {
		done, err = l.appendOnce(ctx, rows, true)
	}
	switch {
	case err == nil:
		res.add(done)
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

func (r *Result) add(more appended) {
	r.Appended += more.Appended
	r.Duplicates += more.Duplicates
	if more.Size > 0 {
		r.Size, r.RecordedAt = more.Size, more.RecordedAt
	}
	for _, p := range more.placed {
		r.Places[p.nth] = p.Place
	}
}

// appended is what one transaction did.
type appended struct {
	Result
	placed     []placed
	rejections []rejection
}

// placed is the place of the nth event that was given.
type placed struct {
	nth int
	Place
}

func (l *Ledger) appendOnce(ctx context.Context, rows []row.Row, dedup bool) (done appended, err error) {
	partitioned, head := int64(0), spool.Head{}
	err = db.InTx(ctx, l.pool, db.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		a, err := l.lockHead(ctx, tx)
		if err != nil {
			return err
		}
		if err := a.append(ctx, rows, dedup); err != nil {
			return err
		}
		done, partitioned, head = a.appended, a.partitioned, a.head
		return nil
	})
	if err != nil {
		return appended{}, err
	}
	l.sawPartition(partitioned)
	l.saw(head)
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
