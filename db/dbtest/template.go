package dbtest

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
)

// startTimeout bounds finding or starting the shared server, and migrating its
// template: usually 1–2 s, more on a machine whose cores are all busy.
const startTimeout = 2 * time.Minute

// server is a handle on the server that holds the tests' databases.
type server struct {
	url   db.URL // superuser, database postgres
	admin *pgxpool.Pool
	// template is the name of the migrated database that others are copied from.
	template string
}

func openShared(ctx context.Context) (*server, error) {
	url := db.URL(os.Getenv("MANTI_TEST_DATABASE_URL"))
	if url == "" {
		var err error
		if url, err = joinCluster(ctx); err != nil {
			return nil, err
		}
	}
	admin, err := db.Open(context.Background(), db.Config{
		URL: url, MaxConns: 4, ApplicationName: "dbtest",
		StatementTimeout: startTimeout, LockTimeout: startTimeout,
	})
	if err != nil {
		return nil, err
	}
	s := &server{url: url, admin: admin, template: "template_" + db.MigrationsHash()[:16]}
	if err := s.makeTemplate(ctx); err != nil {
		admin.Close()
		return nil, fmt.Errorf("migrate the template database: %w", err)
	}
	return s, nil
}

// makeTemplate makes the template if no process has done so. A database becomes
// a template (datistemplate) when it is complete; one that isn't is made anew.
func (s *server) makeTemplate(ctx context.Context) error {
	conn, err := s.admin.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	const lock = 0x6d616e7469
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, lock); err != nil {
		return err
	}
	defer func() { _, _ = conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, lock) }() // ends with the connection too
	complete := false
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)`, s.template).Scan(&complete)
	if err != nil || complete {
		return err
	}
	return s.fillTemplate(ctx, conn.Conn())
}

func (s *server) fillTemplate(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(s.template)+" WITH (FORCE)"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+quote(s.template)+" TEMPLATE template0 STRATEGY FILE_COPY"); err != nil {
		return err
	}
	url, err := s.url.WithDatabase(s.template)
	if err != nil {
		return err
	}
	if _, err := db.Migrate(ctx, db.MigrateConfig{URL: url}); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER DATABASE "+quote(s.template)+" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
	return err
}

// create copies a database. FILE_COPY is the fastest with fsync off (27 ms).
func (s *server) create(ctx context.Context, name string, opts Options) error {
	template := s.template
	if opts.Empty {
		template = "template0"
	}
	_, err := s.admin.Exec(ctx, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template)+" STRATEGY FILE_COPY")
	return err
}

func (s *server) drop(ctx context.Context, name string) error {
	_, err := s.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)")
	return err
}
