package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/ledger"
)

// checkAbandoned is when a check that began and never ended is begun anew: more
// than the longest lasts.
const checkAbandoned = 6 * time.Hour

// night is the day, in UTC, at whose 03:00 the last checks fell due.
const night = `((clock_timestamp() - interval '3 hours') AT TIME ZONE 'UTC')::date`

// DueChecks are those of the projections whose nightly check hasn't been taken
// on yet. Any number of replicas may ask, every minute.
func DueChecks(ctx context.Context, q Querier, ps []*Projection) ([]*Projection, error) {
	const query = `SELECT projection FROM projections.checks
		WHERE night = ` + night + ` AND (checked_at IS NOT NULL OR started_at > clock_timestamp() - $1::interval)`
	rows, err := q.Query(ctx, query, checkAbandoned)
	if err != nil {
		return nil, fmt.Errorf("look for due checks: %w", err)
	}
	taken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for due checks: %w", err)
	}
	isTaken := map[string]bool{}
	for _, name := range taken {
		isTaken[name] = true
	}
	var due []*Projection
	for _, p := range ps {
		if !isTaken[p.name] {
			due = append(due, p)
		}
	}
	return due, nil
}

// Check is a projection's nightly comparison with the ledger.
type Check struct {
	Projection string
	// Checked is when it ended.
	Checked time.Time
	// Index is where rows and ledger were compared.
	Index int64
	// Parked is how many events were left out.
	Parked int64
	// OK is false if rows aren't what the ledger says; Difference says which. If
	// nothing could be compared, Compared is false, and Difference says why.
	OK, Compared bool
	Difference   string
}

// CheckNightly refolds the projection and compares, unless a replica has taken
// tonight's check on already: then done is false. The result stands in
// projections.checks. An error is one of the database that may be gone at the
// next try; the check is due again then.
func CheckNightly(ctx context.Context, b db.Beginner, p *Projection) (check Check, done bool, err error) {
	var tonight time.Time
	if tonight, done, err = claimCheck(ctx, b, p); err != nil || !done {
		return Check{}, false, err
	}
	check, err = checkNow(ctx, b, p)
	if err != nil {
		giveBack := context.WithoutCancel(ctx)
		return Check{}, false, errors.Join(err, endCheck(giveBack, b, p, `DELETE FROM projections.checks WHERE projection = $1 AND night = $2`, tonight))
	}
	var ok *bool
	if check.Compared {
		ok = &check.OK
	}
	const end = `UPDATE projections.checks SET checked_at = clock_timestamp(), index = $3, parked = $4, ok = $5, difference = NULLIF($6, '')
		WHERE projection = $1 AND night = $2`
	return check, true, endCheck(ctx, b, p, end, tonight, check.Index, check.Parked, ok, check.Difference)
}

// claimCheck takes tonight's check on.
func claimCheck(ctx context.Context, b db.Beginner, p *Projection) (tonight time.Time, mine bool, err error) {
	const claim = `INSERT INTO projections.checks AS c (projection, night, started_at) VALUES ($1, ` + night + `, clock_timestamp())
		ON CONFLICT (projection, night) DO UPDATE SET started_at = excluded.started_at
		WHERE c.checked_at IS NULL AND c.started_at <= clock_timestamp() - $2::interval
		RETURNING night`
	err = db.InTx(ctx, b, db.TxOptions{Retries: 3}, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, claim, p.name, checkAbandoned).Scan(&tonight)
		mine = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return tonight, false, fmt.Errorf("take on the check of %s: %w", p.name, err)
	}
	return tonight, mine, nil
}

func endCheck(ctx context.Context, b db.Beginner, p *Projection, sql string, tonight time.Time, args ...any) error {
	err := db.InTx(ctx, b, db.TxOptions{Retries: 3}, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, append([]any{p.name, tonight}, args...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the check of %s: %w", p.name, err)
	}
	return nil
}

// checkNow refolds. What isn't the database's trouble is a result.
func checkNow(ctx context.Context, b db.Beginner, p *Projection) (Check, error) {
	d, err := Refold(ctx, b, p, nil)
	check := Check{Projection: p.name, Checked: time.Now().UTC(), Index: d.Index, Parked: d.Parked}
	_, poisoned := errors.AsType[*PoisonError](err)
	switch {
	case err == nil:
		check.OK, check.Compared = d.None(), true
		if !check.OK {
			check.Difference = d.String()
		}
	case errors.Is(err, ledger.ErrRebuild), poisoned:
		check.Difference = err.Error()
	default:
		return Check{}, err
	}
	return check, nil
}

// LastChecks lists the last check of each projection that ended, by name.
func LastChecks(ctx context.Context, q Querier) ([]Check, error) {
	const query = `SELECT DISTINCT ON (projection) projection, checked_at, COALESCE(index, 0), COALESCE(parked, 0),
			COALESCE(ok, false), ok IS NOT NULL, COALESCE(difference, '')
		FROM projections.checks WHERE checked_at IS NOT NULL ORDER BY projection, night DESC`
	rows, err := q.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read checks: %w", err)
	}
	checks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Check])
	if err != nil {
		return nil, fmt.Errorf("read checks: %w", err)
	}
	for i := range checks {
		checks[i].Checked = checks[i].Checked.UTC()
	}
	return checks, nil
}
