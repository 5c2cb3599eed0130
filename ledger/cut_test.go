package ledger_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// A cut says when a connection breaks: before or after the server gets COMMIT.
type cut int32

const (
	never cut = iota
	beforeCommit
	afterCommit
)

// cutConn breaks at the next COMMIT if it is armed.
type cutConn struct {
	net.Conn
	armed *atomic.Int32
}

func (c cutConn) Write(b []byte) (int, error) {
	when := cut(c.armed.Load())
	if when == never || !bytes.Contains(b, []byte("commit\x00")) || !c.armed.CompareAndSwap(int32(when), int32(never)) {
		return c.Conn.Write(b)
	}
	if when == beforeCommit {
		_ = c.Close()
		return 0, &net.OpError{Op: "write", Net: "cut", Err: net.ErrClosed}
	}
	n, err := c.Conn.Write(b)
	// The answer is awaited, so that the commit has happened, and thrown away.
	_, _ = c.Conn.Read(make([]byte, 1))
	_ = c.Close()
	return n, err
}

// cuttable is a pool whose connections break at COMMIT when told to.
func cuttable(t *testing.T) (pool *pgxpool.Pool, armed *atomic.Int32) {
	t.Helper()
	database := dbtest.Open(t, dbtest.Options{})
	cfg, err := pgxpool.ParseConfig(database.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	armed = new(atomic.Int32)
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return cutConn{conn, armed}, err
	}
	cfg.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		db.RegisterTypes(conn.TypeMap())
		return nil
	}
	pool, err = pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, armed
}

// TestAnAppendThatWasCutOffIsRepeated fails at the commit in both ways: it
// didn't happen, and it did.
func TestAnAppendThatWasCutOffIsRepeated(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]cut{"it didn't happen": beforeCommit, "it happened": afterCommit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, armed := cuttable(t)
			l := ledger.New(pool)
			events := calls(t, 5)
			armed.Store(int32(when))
			_, err := l.Append(t.Context(), events)
			wantIs(t, err, ledger.ErrOutage)
			checkInvariants(t, pool, 0)
			res := mustAppend(t, l, events...)
			if want := map[cut]int{beforeCommit: 0, afterCommit: 5}[when]; res.Duplicates != want {
				t.Errorf("got %+v, want %d duplicates", res, want)
			}
			checkInvariants(t, pool, 0)
			if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 5 {
				t.Errorf("%d events", n)
			}
		})
	}
}

func TestACommandThatWasCutOffLooksWhetherItHappened(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]cut{"it didn't happen": beforeCommit, "it happened": afterCommit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, armed := cuttable(t)
			entries, err := ledger.New(pool).Command(t.Context(), nil, func(context.Context, pgx.Tx, time.Time) ([]domain.Event, error) {
				armed.Store(int32(when))
				return []domain.Event{{ID: newID[domain.EventID](), Body: &domain.OrgCreated{Org: newID[domain.OrgID]()}}}, nil
			})
			n := count(t, pool, `SELECT count(*) FROM ledger.events`)
			if happened := when == afterCommit; happened != (err == nil) || happened != (n == 1) || happened != (len(entries) == 1) {
				t.Errorf("got %d entries, %v, and %d events", len(entries), err, n)
			}
			checkInvariants(t, pool, 0)
		})
	}
}
