package db

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// The roles of the schema. None of them can log in by itself: logins become
// members. They belong to the whole cluster, not to one database.
const (
	// RoleOwner owns every object; migrations run as it and nothing else should.
	RoleOwner = "manti_owner"
	// RoleWriter is what serve's pools run as.
	RoleWriter = "manti_writer"
	// RoleReader reads what reports and the console show.
	RoleReader = "manti_reader"
	// RoleAuditor reads what an audit needs, the ledger's private parts included.
	RoleAuditor = "manti_auditor"
)

// Separation says how far the roles protect the ledger.
type Separation string

const (
	// SeparationNone: there is one role for everything, the login itself.
	SeparationNone Separation = "none"
	// SeparationShared: the roles hold, but serve's login may take the owner's (or is a
	// superuser). That guards against accidents, not attackers.
	SeparationShared Separation = "shared"
	// SeparationFull: serve's login can become neither owner nor superuser.
	SeparationFull Separation = "full"
)

// Roles is the outcome for one database and serve's login.
type Roles struct {
	Separation Separation
	// Owner is the role that owns the objects: RoleOwner, or the login if Separation is none.
	Owner string
	// Writer and Reader go into Config.Role: RoleWriter and RoleReader, or "" if Separation is none.
	Writer, Reader string
	// Reason says why Separation isn't full, and what would change it. Empty if it is.
	Reason string
}

// InspectRoles finds out what holds for serve's login, which conn must use.
func InspectRoles(ctx context.Context, conn Querier) (Roles, error) {
	const query = `
		SELECT session_user::text, current_setting('server_version_num')::int,
		       (SELECT rolsuper FROM pg_roles WHERE rolname = session_user),
		       COALESCE((SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'manti'), ''),
		       EXISTS (SELECT FROM pg_roles WHERE rolname = 'manti_owner'),
		       EXISTS (SELECT FROM pg_roles WHERE rolname = 'manti_writer')`
	var login, owner string
	var version int
	var super, hasOwner, hasWriter bool
	err := conn.QueryRow(ctx, query).Scan(&login, &version, &super, &owner, &hasOwner, &hasWriter)
	if err != nil {
		return Roles{}, fmt.Errorf("inspect roles: %w", err)
	}
	if owner == "" {
		return singleRole(login, "the database isn't migrated"), nil
	}
	if owner != RoleOwner || !hasOwner || !hasWriter {
		return singleRole(login, "the schema belongs to "+owner+", not to "+RoleOwner), nil
	}
	mayWrite, err := mayTake(ctx, conn, version, login, RoleWriter)
	if err != nil {
		return Roles{}, err
	}
	if !mayWrite {
		return singleRole(login, login+" may not SET ROLE "+RoleWriter+": GRANT "+RoleWriter+" TO "+login), nil
	}
	mayOwn, err := mayTake(ctx, conn, version, login, RoleOwner)
	if err != nil {
		return Roles{}, err
	}
	return namedRoles(login, super, mayOwn), nil
}

func singleRole(login, reason string) Roles {
	return Roles{Separation: SeparationNone, Owner: login, Reason: reason}
}

func namedRoles(login string, super, mayOwn bool) Roles {
	roles := Roles{Separation: SeparationFull, Owner: RoleOwner, Writer: RoleWriter, Reader: RoleReader}
	const remedy = "; give migrations a login of their own (MANTI_MIGRATE_URL)"
	switch {
	case super:
		roles.Separation, roles.Reason = SeparationShared, login+" is a superuser"+remedy
	case mayOwn:
		roles.Separation, roles.Reason = SeparationShared, login+" may become "+RoleOwner+remedy
	}
	return roles
}

// Querier runs one query: a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// mayTake reports whether login may SET ROLE role.
func mayTake(ctx context.Context, conn Querier, version int, login, role string) (bool, error) {
	// Before Postgres 16 every member may; since then the grant says so.
	privilege := "MEMBER"
	if version >= 160000 {
		privilege = "SET"
	}
	may := false
	err := conn.QueryRow(ctx, `SELECT pg_has_role($1::name, $2::name, $3)`, login, role, privilege).Scan(&may)
	if err != nil {
		return false, fmt.Errorf("inspect membership in %s: %w", role, err)
	}
	return may, nil
}

// roleSetup makes what is missing of roles, memberships and the owner's right on
// the database. Each statement commits by itself: the connection of the
// migrations has to see them. Its caller holds the migration lock, but that
// guards one database, while roles belong to the cluster: so each step accepts
// that another database's migration has just done it.
type roleSetup struct {
	conn     *pgx.Conn
	database string
	login    string
	serve    string // serve's login, to be given writer and reader
	version  int    // server_version_num
}

// errNoSeparation carries the reason why there is one role for everything.
type errNoSeparation struct{ reason string }

func (e errNoSeparation) Error() string { return e.reason }

// run returns the role that will own the objects, and why it is the login if it is.
func (s *roleSetup) run(ctx context.Context) (owner, reason string, err error) {
	err = s.ensure(ctx)
	var none errNoSeparation
	switch {
	case errors.As(err, &none):
		return s.login, none.reason, nil
	case err != nil:
		return "", "", err
	}
	return RoleOwner, "", nil
}

func (s *roleSetup) ensure(ctx context.Context) error {
	if err := s.checkSchemaOwner(ctx); err != nil {
		return err
	}
	for _, role := range []string{RoleOwner, RoleWriter, RoleReader, RoleAuditor} {
		if err := s.ensureRole(ctx, role); err != nil {
			return err
		}
	}
	if err := s.ensureMember(ctx, s.login, RoleOwner); err != nil {
		return err
	}
	for _, login := range slices.Compact([]string{s.login, s.serve}) {
		for _, role := range []string{RoleWriter, RoleReader} {
			if err := s.ensureMember(ctx, login, role); err != nil {
				return err
			}
		}
	}
	return s.ensureDatabaseRight(ctx)
}

// checkSchemaOwner keeps a database that began with one role at that: its
// objects belong to the login, and taking them over is a decision of a person.
func (s *roleSetup) checkSchemaOwner(ctx context.Context) error {
	owner := ""
	err := s.conn.QueryRow(ctx, `SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'manti'`).Scan(&owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || owner == RoleOwner:
		return nil
	case err != nil:
		return fmt.Errorf("inspect schema owner: %w", err)
	}
	return errNoSeparation{"the schema belongs to " + owner + " already; REASSIGN OWNED moves it to " + RoleOwner}
}

func (s *roleSetup) ensureRole(ctx context.Context, role string) error {
	return s.ensureThat(ctx, step{
		what:  "create role " + role,
		check: `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`,
		args:  []any{role},
		sql:   "CREATE ROLE " + pgx.Identifier{role}.Sanitize() + " NOLOGIN",
		hint:  "roles are missing and " + s.login + " lacks CREATEROLE",
	})
}

func (s *roleSetup) ensureMember(ctx context.Context, login, role string) error {
	if login == role {
		return nil
	}
	privilege, options := "MEMBER", ""
	if s.version >= 160000 {
		// Only SET: the login keeps its own rights until it asks for the role's.
		privilege, options = "SET", " WITH SET TRUE, INHERIT FALSE"
	}
	return s.ensureThat(ctx, step{
		what:  "grant " + role + " to " + login,
		check: `SELECT pg_has_role($1::name, $2::name, $3)`,
		args:  []any{login, role, privilege},
		sql:   "GRANT " + pgx.Identifier{role}.Sanitize() + " TO " + pgx.Identifier{login}.Sanitize() + options,
		hint:  login + " is no member of " + role + ": GRANT " + role + " TO " + login,
	})
}

func (s *roleSetup) ensureDatabaseRight(ctx context.Context) error {
	return s.ensureThat(ctx, step{
		what:  "grant create on database to " + RoleOwner,
		check: `SELECT has_database_privilege($1::name, current_database(), 'CREATE')`,
		args:  []any{RoleOwner},
		sql:   "GRANT CREATE ON DATABASE " + pgx.Identifier{s.database}.Sanitize() + " TO " + RoleOwner,
		hint:  RoleOwner + " may not create schemas: GRANT CREATE ON DATABASE " + s.database + " TO " + RoleOwner,
	})
}

// step is something that must be true, and the statement that makes it so.
type step struct {
	what  string
	check string
	args  []any
	sql   string
	hint  string // why it can't be, if the login lacks the right
}

// ensureThat makes the step true, against others who are doing the same.
func (s *roleSetup) ensureThat(ctx context.Context, st step) error {
	const attempts = 20
	applied := false
	for attempt := range attempts {
		done := false
		if err := s.conn.QueryRow(ctx, st.check, st.args...).Scan(&done); err != nil {
			return fmt.Errorf("%s: %w", st.what, err)
		}
		if done {
			return nil
		}
		if applied {
			return errNoSeparation{st.hint} // a GRANT without the right to it may only warn
		}
		_, err := s.conn.Exec(ctx, st.sql)
		switch state := SQLState(err); {
		case err == nil:
			applied = true
		case state == stateNoPrivilege:
			return errNoSeparation{st.hint}
		case isCatalogRace(state):
			if err := backOff(ctx, attempt); err != nil {
				return fmt.Errorf("%s: %w", st.what, err)
			}
		default:
			return fmt.Errorf("%s: %w", st.what, err)
		}
	}
	return fmt.Errorf("%s: others kept changing the same row of the catalog", st.what)
}

// isCatalogRace reports whether two sessions met on one row of a shared catalog:
// the role has just been made, or its row was updated ("tuple concurrently updated").
func isCatalogRace(state string) bool {
	return state == stateDuplicateObject || state == stateUniqueViolation || state == stateInternal || state == stateDeadlock
}
