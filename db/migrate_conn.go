package db

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// migrationLock is the key of the advisory lock under which migrations run:
// the first 63 bits of SHA-256("manti migrations"). Advisory locks belong to one
// database, so other databases of the cluster migrate at the same time.
const migrationLock int64 = 0x5f1c_0e1d_6d61_6e74

// lockPoll is how often a replica asks whether the one that migrates has finished.
const lockPoll = 50 * time.Millisecond

// closeTimeout bounds the goodbye to a server that may be gone.
const closeTimeout = time.Second

// heldLock is a transaction that holds the advisory lock. It ends with its
// connection, whatever happens to this process.
type heldLock struct{ conn *pgx.Conn }

func (l heldLock) close() { closeConn(l.conn) }

// lockMigrations takes the lock. Who waits asks again and again instead of
// blocking in Postgres: a blocked statement holds a snapshot, for which a CREATE
// INDEX CONCURRENTLY of the one who migrates would wait in turn. The lock is a
// transaction's, not a session's, so that it holds through any pooler.
func lockMigrations(ctx context.Context, target URL) (heldLock, error) {
	conn, err := connect(ctx, target)
	if err != nil {
		return heldLock{}, err
	}
	for {
		locked, err := tryLock(ctx, conn)
		if err == nil && locked {
			return heldLock{conn}, nil
		}
		if err == nil {
			err = wait(ctx, lockPoll)
		}
		if err != nil {
			closeConn(conn)
			return heldLock{}, fmt.Errorf("wait for the migration lock: %w", err)
		}
	}
}

// tryLock leaves its transaction open if it got the lock.
func tryLock(ctx context.Context, conn *pgx.Conn) (bool, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	// The transaction idles for as long as the migrations take. transaction_timeout exists since 17.
	const patience = `SELECT set_config(name, '0', true) FROM pg_settings
		WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', 'idle_session_timeout')`
	if _, err := tx.Exec(ctx, patience); err != nil {
		return false, err
	}
	locked := false
	if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, migrationLock).Scan(&locked); err != nil {
		return false, err
	}
	if locked {
		return true, nil
	}
	return false, tx.Rollback(ctx)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// connect opens a connection of its own, outside any pool, without timeouts on statements.
func connect(ctx context.Context, target URL) (*pgx.Conn, error) {
	if _, err := target.parse(); err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(target.Reveal())
	if err != nil {
		return nil, fmt.Errorf("read database URL: %w", redact(err, target.secrets()))
	}
	setConnDefaults(cfg, "manti migrate")
	// pgxpool's parameters are none of the server's.
	for name := range cfg.RuntimeParams {
		if strings.HasPrefix(name, "pool_") {
			delete(cfg.RuntimeParams, name)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", redact(err, target.secrets()))
	}
	return conn, nil
}

// closeConn says goodbye even if the caller has been cancelled.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the socket is closed in any case, and nothing is pending
}

// setTLS makes lib/pq speak TLS as conn does: with the files and the strictness
// that the URL or the environment asked for, or not at all if conn doesn't.
func setTLS(query url.Values, conn *pgx.Conn) {
	if _, encrypted := conn.PgConn().Conn().(*tls.Conn); !encrypted {
		query.Set("sslmode", "disable")
		return
	}
	query.Set("sslmode", "require")
	asked, err := url.Parse(conn.Config().ConnString())
	if err != nil {
		return // pgx has parsed it, so this can't be; require is what conn does
	}
	for _, name := range []string{"sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslsni", "sslnegotiation"} {
		value := asked.Query().Get(name)
		if value == "" || name == "sslmode" && (value == "prefer" || value == "allow") {
			continue
		}
		query.Set(name, value)
	}
}

// escapeOption quotes a value for the options parameter, where spaces separate
// and a backslash escapes.
func escapeOption(value string) string {
	return strings.NewReplacer(`\`, `\\`, ` `, `\ `).Replace(value)
}
