package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"manti/db"
	"manti/ledger"
)

// A Past is projections as they were after the ledger's first events, in
// temporary tables of one transaction: the queries of this package read them
// there if they are given a Past instead of a pool. It holds back no append and
// no fold, and leaves nothing behind.
type Past struct {
	// Index is how many events are folded: all with a lower index.
	Index int64

	tx    pgx.Tx
	names *strings.Replacer
}

var _ Querier = (*Past)(nil)

// Query runs a query in which the tables of projections are the past ones.
func (p *Past) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return p.tx.Query(ctx, p.names.Replace(sql), args...)
}

// pastEntries is how many events are folded at once: many, because then most of
// them fall into one row each, and nobody else waits.
const pastEntries = 250_000

// pastOptions see one state of the ledger, throughout.
var pastOptions = db.TxOptions{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead}}

// longWork is for transactions that nobody else waits for.
const longWork = `SET LOCAL statement_timeout = '1h'; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off`

// noPrivilege is the SQLSTATE of a right that is missing.
const noPrivilege = "42501"

// openPast begins to work on temporary tables. Rows of the projections that are
// swapped while the transaction has seen none yet would be missed: so it locks
// them first, before the first look at anything.
func openPast(ctx context.Context, tx pgx.Tx, ps ...*Projection) (*Past, error) {
	const note = `CREATE TEMP TABLE parked (LIKE projections.parked INCLUDING ALL) ON COMMIT DROP;
		CREATE TEMP TABLE checkpoints (LIKE projections.checkpoints INCLUDING ALL) ON COMMIT DROP`
	if _, err := tx.Exec(ctx, longWork); err != nil {
		return nil, err
	}
	if err := lockTables(ctx, tx, ps...); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, note); db.SQLState(err) == noPrivilege {
		return nil, fmt.Errorf("make temporary tables: %w: grant the login TEMPORARY on the database", err)
	} else if err != nil {
		return nil, fmt.Errorf("make temporary tables: %w", err)
	}
	names := []string{"projections.parked", "pg_temp.parked", "projections.checkpoints", "pg_temp.checkpoints"}
	for _, p := range ps {
		for _, t := range p.tables {
			sql := fmt.Sprintf(`CREATE TEMP TABLE past_%s (LIKE projections.%[1]s INCLUDING ALL) ON COMMIT DROP`, t.name)
			if _, err := tx.Exec(ctx, sql); err != nil {
				return nil, fmt.Errorf("make temporary table for %s: %w", t.name, err)
			}
			names = append(names, "projections."+t.name, p.in(past).tableName(t.name))
		}
	}
	return &Past{tx: tx, names: strings.NewReplacer(names...)}, nil
}

// lockTables keeps the tables from being swapped until the transaction ends. It
// has to come first in one of repeatable reads: a query before it fixes what is
// seen, and a table that was swapped in later would look half empty.
func lockTables(ctx context.Context, tx pgx.Tx, ps ...*Projection) error {
	var names []string
	for _, p := range ps {
		for _, t := range p.tables {
			names = append(names, p.tableName(t.name))
		}
	}
	if _, err := tx.Exec(ctx, `LOCK TABLE `+strings.Join(names, ", ")+` IN ACCESS SHARE MODE`); err != nil {
		return fmt.Errorf("hold tables: %w", err)
	}
	return nil
}

// pastFold folds one projection into its temporary tables.
type pastFold struct {
	p      *Projection
	tx     pgx.Tx
	at     ledger.Progress
	digest []byte
	// leaveOut are indexes of events that aren't folded, in order.
	leaveOut []int64
	parked   int
	progress func(index, size int64)
}

// fold brings the rows to the events below size.
func (p *Past) fold(ctx context.Context, of *Projection, size int64, leaveOut []int64, progress func(index, size int64)) (*pastFold, error) {
	f := &pastFold{p: of.in(past), tx: p.tx, leaveOut: leaveOut, progress: progress}
	f.at.Size = size
	limit := pastEntries
	for !f.at.CaughtUp() {
		if f.progress != nil {
			f.progress(f.at.Index, size)
		}
		err := f.step(ctx, limit)
		foldErr, ofFold := errors.AsType[*ledger.FoldError](err)
		switch {
		case err == nil:
			limit = pastEntries
		case !ofFold || !isPoison(err):
			return nil, err
		case limit > 1:
			limit = max(1, limit/8)
		default:
			if err := f.park(ctx, foldErr); err != nil {
				return nil, err
			}
			limit = pastEntries
		}
	}
	if f.progress != nil {
		f.progress(size, size)
	}
	const checkpoint = `INSERT INTO pg_temp.checkpoints (name, version, index, digest, updated_at) VALUES ($1, $2, $3, $4, clock_timestamp())`
	if _, err := p.tx.Exec(ctx, checkpoint, of.name, of.version, size, cmpDigest(f.digest)); err != nil {
		return nil, fmt.Errorf("note checkpoint: %w", err)
	}
	p.Index = size
	return f, nil
}

// step folds a batch, or leaves out the next event if it is to be.
func (f *pastFold) step(ctx context.Context, limit int) error {
	upTo := f.at
	if len(f.leaveOut) > 0 && f.leaveOut[0] < f.at.Size {
		if f.leaveOut[0] == f.at.Index {
			err := f.leave(ctx, f.at.Index, "it is parked in the live projection")
			f.leaveOut = f.leaveOut[1:]
			return err
		}
		upTo.Size = f.leaveOut[0]
	}
	sub, err := f.tx.Begin(ctx) // a savepoint: what fails undoes only itself
	if err != nil {
		return fmt.Errorf("begin batch: %w", err)
	}
	next, digest, err := ledger.FoldRange(ctx, sub, f.p, upTo, limit, f.digest)
	if err != nil {
		if undo := sub.Rollback(ctx); undo != nil {
			return errors.Join(err, undo)
		}
		return err
	}
	if err := sub.Commit(ctx); err != nil {
		return fmt.Errorf("end batch: %w", err)
	}
	f.at.Index, f.digest = next.Index, digest
	return nil
}

// park leaves out the event that a batch of one failed at.
func (f *pastFold) park(ctx context.Context, cause *ledger.FoldError) error {
	if f.parked++; f.parked > maxParked {
		return &PoisonError{Projection: f.p.name, Index: cause.To - 1, Err: cause.Err}
	}
	return f.leave(ctx, cause.To-1, cause.Err.Error())
}

func (f *pastFold) leave(ctx context.Context, index int64, why string) error {
	if _, err := f.tx.Exec(ctx, `INSERT INTO pg_temp.parked `+selectParked, f.p.Name(), index, why); err != nil {
		return fmt.Errorf("leave out event %d: %w", index, err)
	}
	f.at.Index = index + 1
	return nil
}

// cmpDigest is a digest as it is compared: that of no rows is 0.
func cmpDigest(digest []byte) []byte {
	if len(digest) == 0 {
		return make([]byte, digestBytes)
	}
	return digest
}

// maxStored bounds the text of an error in a table.
const maxStored = 500

// errorText is an error for people to read in a table. A server's detail is left
// out: it may quote a whole row.
func errorText(err error) string {
	text := err.Error()
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		text = fmt.Sprintf("%s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	}
	if len(text) > maxStored {
		text = strings.ToValidUTF8(text[:maxStored], "")
	}
	return text
}
