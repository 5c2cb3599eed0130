package db

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"time"

	"github.com/amacneil/dbmate/v2/pkg/dbmate"
	_ "github.com/amacneil/dbmate/v2/pkg/driver/postgres" // registers the driver with dbmate
	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	migrationsDir   = "migrations"
	migrationsTable = "manti.schema_migrations"
	// minServerVersion is the oldest Postgres that the migrations are written for.
	minServerVersion = 150000
)

// MigrateConfig says where and as whom to migrate.
type MigrateConfig struct {
	// URL is the login that migrates. It needs no superuser: CREATE on the database
	// suffices, and CREATEROLE (or an administrator who has made the roles) for the
	// roles to be separate. It must reach Postgres itself or a pooler in session mode.
	URL URL
	// ServeURL is serve's login if it is another; it is made a member of writer and reader.
	ServeURL URL
	// Log gets one line per run that changed something; nil means none.
	Log *slog.Logger
	// Files replaces the built-in migrations (tests); they stand in its folder "migrations".
	Files fs.FS
}

// Migrated is what a run of Migrate did and found.
type Migrated struct {
	// Applied are the names of the files applied by this run, in order; empty if
	// there was nothing to do.
	Applied []string
	Roles   Roles
}

// MigrationsHash identifies the built-in migrations by their content.
func MigrationsHash() string {
	sum := sha256.New()
	names, err := fs.Glob(migrationFiles, migrationsDir+"/*.sql")
	if err != nil {
		panic("db: bad pattern: " + err.Error())
	}
	for _, name := range names {
		content, err := migrationFiles.ReadFile(name)
		if err != nil {
			panic("db: embedded file is gone: " + err.Error())
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(content))
		sum.Write(content)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Migrate makes roles and schema what this binary needs: it waits for the
// migration lock (until ctx ends), makes missing roles, and applies the pending
// files with dbmate, each in a transaction with its record. Any number of
// replicas may call it at once; one works, the others find nothing left to do.
// Files of a newer binary that are applied already are left alone.
//
// Where the roles can't be made it carries on with the login as the one role,
// and Migrated.Roles says why. dbmate takes no context: once a file has begun,
// it runs to its end.
func Migrate(ctx context.Context, cfg MigrateConfig) (Migrated, error) {
	var done Migrated
	err := withMigrator(ctx, cfg, func(m *migrator) error {
		pending, err := m.pending()
		if err != nil {
			return err
		}
		start := time.Now()
		if len(pending) > 0 {
			if err := m.mate.Migrate(); err != nil {
				return fmt.Errorf("apply migrations: %w", err)
			}
		}
		done.Applied = pending
		done.Roles, err = m.serveRoles(ctx)
		if err != nil {
			return err
		}
		if len(pending) > 0 && cfg.Log != nil {
			cfg.Log.InfoContext(ctx, "database migrated", "applied", pending, "owner", m.owner,
				"separation", done.Roles.Separation, "took", time.Since(start))
		}
		return nil
	})
	return done, err
}

// Rollback takes back the one file applied last, with its data. It is for
// development and tests: it drops tables, the ledger's too.
func Rollback(ctx context.Context, cfg MigrateConfig) error {
	return withMigrator(ctx, cfg, func(m *migrator) error {
		if err := m.mate.Rollback(); err != nil {
			return fmt.Errorf("roll back migration: %w", err)
		}
		return nil
	})
}

// migrator holds the lock, a working connection and a dbmate that logs in as the owner.
type migrator struct {
	mate   *dbmate.DB
	owner  string
	reason string // why owner is the login
	serve  string
	conn   *pgx.Conn
}

func withMigrator(ctx context.Context, cfg MigrateConfig, fn func(*migrator) error) (err error) {
	defer func() { err = redact(err, append(cfg.URL.secrets(), cfg.ServeURL.secrets()...)) }()
	lock, err := lockMigrations(ctx, cfg.URL)
	if err != nil {
		return err
	}
	defer lock.close()
	conn, err := connect(ctx, cfg.URL)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	m, err := newMigrator(ctx, cfg, conn)
	if err != nil {
		return err
	}
	return fn(m)
}

func newMigrator(ctx context.Context, cfg MigrateConfig, conn *pgx.Conn) (*migrator, error) {
	setup := roleSetup{conn: conn}
	err := conn.QueryRow(ctx, `SELECT session_user::text, current_database()::text, current_setting('server_version_num')::int`).
		Scan(&setup.login, &setup.database, &setup.version)
	if err != nil {
		return nil, fmt.Errorf("inspect server: %w", err)
	}
	if setup.version < minServerVersion {
		return nil, fmt.Errorf("the server is PostgreSQL %d: 15 or newer is needed", setup.version/10000)
	}
	setup.serve = setup.login
	if name := cfg.ServeURL.User(); name != "" {
		setup.serve = name
	}
	owner, reason, err := setup.run(ctx)
	if err != nil {
		return nil, err
	}
	if owner == setup.login && setup.serve != setup.login && owner != RoleOwner {
		return nil, fmt.Errorf("%s cannot be given rights of its own: %s", setup.serve, reason)
	}
	if err := createSchema(ctx, conn, owner); err != nil {
		return nil, err
	}
	files := cfg.Files
	if files == nil {
		files = migrationFiles
	}
	return &migrator{mate: newMate(conn, owner, files), owner: owner, reason: reason, serve: setup.serve, conn: conn}, nil
}

// createSchema makes the schema in which dbmate keeps its table, so that no
// migration owns it and the last one can be taken back.
func createSchema(ctx context.Context, conn *pgx.Conn, owner string) error {
	exists := false
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'manti')`).Scan(&exists); err != nil {
		return fmt.Errorf("look for schema manti: %w", err)
	}
	if exists {
		return nil
	}
	_, err := conn.Exec(ctx, "CREATE SCHEMA manti AUTHORIZATION "+pgx.Identifier{owner}.Sanitize())
	if err != nil {
		return fmt.Errorf("create schema manti: %w", err)
	}
	return nil
}

// newMate returns a dbmate that connects to the very server of conn and acts as owner.
func newMate(conn *pgx.Conn, owner string, files fs.FS) *dbmate.DB {
	mate := dbmate.New(mateURL(conn, owner))
	mate.AutoDumpSchema = false
	mate.FS = files
	mate.MigrationsDir = []string{migrationsDir}
	mate.MigrationsTableName = migrationsTable
	mate.Strict = true
	mate.Log = io.Discard
	return mate
}

// pending returns the names of the files that are not applied.
func (m *migrator) pending() ([]string, error) {
	all, err := m.mate.FindMigrations()
	if err != nil {
		return nil, fmt.Errorf("find pending migrations: %w", err)
	}
	var names []string
	for _, migration := range all {
		if !migration.Applied {
			names = append(names, migration.FileName)
		}
	}
	return names, nil
}

// serveRoles says what holds for serve's login, seen from the migrating one.
func (m *migrator) serveRoles(ctx context.Context) (Roles, error) {
	if m.owner != RoleOwner {
		return singleRole(m.owner, m.reason), nil
	}
	super, version := false, 0
	err := m.conn.QueryRow(ctx, `SELECT rolsuper, current_setting('server_version_num')::int FROM pg_roles WHERE rolname = $1`, m.serve).
		Scan(&super, &version)
	if err != nil {
		return Roles{}, fmt.Errorf("inspect login %s: %w", m.serve, err)
	}
	mayOwn, err := mayTake(ctx, m.conn, version, m.serve, RoleOwner)
	if err != nil {
		return Roles{}, err
	}
	return namedRoles(m.serve, super, mayOwn), nil
}

// mateURL spells out for lib/pq what pgx has found out (URL, environment,
// password file, which of several hosts answered, TLS or not), because the two
// have different defaults. The owner's role and the timeouts are startup options.
func mateURL(conn *pgx.Conn, owner string) *url.URL {
	cfg := conn.Config()
	query := url.Values{}
	query.Set("host", cfg.Host)
	query.Set("port", fmt.Sprint(cfg.Port))
	query.Set("application_name", "manti migrate")
	query.Set("options", "-c role="+escapeOption(owner)+" -c lock_timeout=10s -c statement_timeout=0 -c idle_in_transaction_session_timeout=0")
	setTLS(query, conn)
	return &url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(cfg.User, cfg.Password),
		Path:     "/" + cfg.Database,
		RawQuery: query.Encode(),
	}
}
