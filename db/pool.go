package db

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The defaults of Config. They keep one stalled statement or transaction from
// holding the ledger's head: who waits for it gives up first.
const (
	DefaultStatementTimeout = 5 * time.Second
	DefaultLockTimeout      = 2 * time.Second
	DefaultIdleInTxTimeout  = 2 * time.Second
	// defaultConnectTimeout covers one host's TCP, TLS and login; a caller's
	// deadline still counts if it is shorter.
	defaultConnectTimeout = 5 * time.Second
)

// Config describes a pool. Only URL is required.
type Config struct {
	// URL names server, database and login.
	URL URL
	// ApplicationName is what pg_stat_activity shows; default "manti", unless the URL names one.
	ApplicationName string
	// Role is taken with SET ROLE on every connection; empty keeps the login's own.
	Role string
	// StatementTimeout, LockTimeout and IdleInTxTimeout are set on every
	// connection; zero means the default, negative means none.
	StatementTimeout time.Duration
	LockTimeout      time.Duration
	IdleInTxTimeout  time.Duration
	// MaxConns bounds the pool; zero leaves pgxpool's default (the larger of 4 and
	// the number of CPUs) or the URL's pool_max_conns.
	MaxConns int32
	// ReadBufferBytes is how much is read from the server at a time; pgx's 8 KB if
	// 0. Who reads a whole table saves most of the system calls with more.
	ReadBufferBytes int
	// TransactionPooling is for a pooler that hands out a server connection per
	// transaction (PgBouncer's pool_mode=transaction). A SET would then reach
	// some other client's connection, and a prepared statement might be missing,
	// so neither is used: role and timeouts must belong to the login instead
	// (ALTER ROLE login SET role = 'manti_writer', SET statement_timeout = '5s' …).
	TransactionPooling bool
}

// Open makes a pool. It connects to nothing yet, so it succeeds with the server
// down: errors are about the configuration.
//
// Role and timeouts are set by one SET after each connect, not by startup
// parameters, which PgBouncer refuses. So this works on a direct connection and
// through a pooler in session mode; for the transaction mode see
// Config.TransactionPooling. numeric is mapped to decimal.Decimal (RegisterTypes).
func Open(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	if _, err := cfg.URL.parse(); err != nil {
		return nil, err
	}
	poolConfig, err := pgxpool.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		return nil, fmt.Errorf("read database URL: %w", redact(err, cfg.URL.secrets()))
	}
	setConnDefaults(poolConfig.ConnConfig, cfg.ApplicationName)
	if cfg.MaxConns > 0 {
		poolConfig.MaxConns = cfg.MaxConns
	}
	if n := cfg.ReadBufferBytes; n > 0 {
		poolConfig.ConnConfig.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
			return pgproto3.NewFrontend(bufio.NewReaderSize(r, n), w)
		}
	}
	session := cfg.sessionSQL()
	if cfg.TransactionPooling {
		session = ""
		poolConfig.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	poolConfig.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		RegisterTypes(conn.TypeMap())
		if session == "" {
			return nil
		}
		if _, err := conn.Exec(ctx, session); err != nil {
			return fmt.Errorf("set role and timeouts: %w", err)
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", redact(err, cfg.URL.secrets()))
	}
	return pool, nil
}

// setConnDefaults fills in what the URL leaves open.
func setConnDefaults(conn *pgx.ConnConfig, applicationName string) {
	if applicationName != "" {
		conn.RuntimeParams["application_name"] = applicationName
	} else if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "manti"
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = defaultConnectTimeout
	}
}

// sessionSQL returns the statements that prepare a session, sent in one round trip.
func (cfg Config) sessionSQL() string {
	var sql strings.Builder
	set := func(name string, value, fallback time.Duration) {
		if value == 0 {
			value = fallback
		}
		ms := max(value.Milliseconds(), 0)
		if value > 0 && ms == 0 {
			ms = 1 // Postgres takes 0 for "none"
		}
		sql.WriteString("SET " + name + " = " + strconv.FormatInt(ms, 10) + "; ")
	}
	set("statement_timeout", cfg.StatementTimeout, DefaultStatementTimeout)
	set("lock_timeout", cfg.LockTimeout, DefaultLockTimeout)
	set("idle_in_transaction_session_timeout", cfg.IdleInTxTimeout, DefaultIdleInTxTimeout)
	if cfg.Role != "" {
		sql.WriteString("SET ROLE " + pgx.Identifier{cfg.Role}.Sanitize())
	}
	return sql.String()
}
