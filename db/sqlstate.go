package db

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// The SQLSTATEs that this package treats one by one.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	stateReadOnly        = "25006" // a primary that has become a standby
	stateIdleInTx        = "25P03" // our idle_in_transaction_session_timeout: the session is gone
	stateTransactionTime = "25P04" // transaction_timeout of Postgres 17
	stateSerialization   = "40001"
	stateDeadlock        = "40P01"
	stateNoPrivilege     = "42501"
	stateDuplicateObject = "42710"
	stateUniqueViolation = "23505"
	stateInternal        = "XX000" // "tuple concurrently updated", among others
)

// SQLState returns the five characters that Postgres gave the error, or "" if
// the error isn't Postgres's.
func SQLState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// Constraint returns the name of the violated constraint, or "".
func Constraint(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.ConstraintName
	}
	return ""
}

// IsRefusal reports whether Postgres refused the data for what they are: bad
// data (class 22) or a violated constraint (class 23). The same statement will
// be refused again.
func IsRefusal(err error) bool {
	class := class(SQLState(err))
	return class == "22" || class == "23"
}

// IsOutage reports whether the same work may succeed later, unchanged: the
// connection failed (class 08 or no answer at all), the transaction lost a race
// (40), resources are short (53), something is in use or locked (55), an
// operator or a timeout intervened (57), or the session was ended or is on a
// standby (25006, 25P03, 25P04). A cancelled context of the caller's is no
// outage. What was sent may have happened nevertheless: see ErrCommitUnknown.
func IsOutage(err error) bool {
	if err == nil {
		return false
	}
	state := SQLState(err)
	switch class(state) {
	case "08", "40", "53", "55", "57":
		return true
	}
	switch state {
	case stateReadOnly, stateIdleInTx, stateTransactionTime:
		return true
	case "":
		return isBrokenConnection(err)
	}
	return false
}

// IsContention reports whether the transaction lost a race and is surely rolled
// back: a serialization failure or a deadlock.
func IsContention(err error) bool {
	state := SQLState(err)
	return state == stateSerialization || state == stateDeadlock
}

// isBrokenConnection reports whether err, which carries no SQLSTATE, comes from
// the connection rather than from our own code or the caller's context.
func isBrokenConnection(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var connectErr *pgconn.ConnectError
	var netErr net.Error
	return errors.As(err, &connectErr) || errors.As(err, &netErr) || pgconn.Timeout(err) ||
		errors.Is(err, ErrCommitUnknown) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed)
}

func class(state string) string {
	if len(state) != 5 {
		return ""
	}
	return state[:2]
}
