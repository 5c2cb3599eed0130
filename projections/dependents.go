package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"manti/db"
)

// ErrDependents is returned by a rebuild of tables that somebody's views or other
// objects stand on: such a table can't be dropped for the new one.
var ErrDependents = errors.New("other objects stand on a table that a rebuild makes anew")

// dependentsOf lists what isn't part of the table $1 and keeps it from being
// dropped: views, functions and foreign keys that name it, and columns of its
// row type.
const dependentsOf = `
	WITH live AS (SELECT oid, reltype FROM pg_class WHERE oid = to_regclass('projections.' || quote_ident($1)))
	SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)
		ELSE pg_describe_object('pg_class'::regclass, r.ev_class, 0) END
	FROM live JOIN pg_depend d ON d.deptype = 'n' AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = live.oid
		OR d.refclassid = 'pg_type'::regclass AND d.refobjid = live.reltype)
	LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
	WHERE r.ev_class IS DISTINCT FROM live.oid
		AND NOT (d.classid = 'pg_class'::regclass AND d.objid = live.oid)
		AND NOT (d.classid = 'pg_constraint'::regclass AND EXISTS (SELECT FROM pg_constraint o WHERE o.oid = d.objid AND o.conrelid = live.oid))
		AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef o WHERE o.oid = d.objid AND o.adrelid = live.oid))
		AND NOT (d.classid = 'pg_trigger'::regclass AND EXISTS (SELECT FROM pg_trigger o WHERE o.oid = d.objid AND o.tgrelid = live.oid))
		AND NOT (d.classid = 'pg_policy'::regclass AND EXISTS (SELECT FROM pg_policy o WHERE o.oid = d.objid AND o.polrelid = live.oid))
	ORDER BY 1`

// refuseDependents looks before anything is folded for what would stop the swap.
func (p *Projection) refuseDependents(ctx context.Context, tx pgx.Tx) error {
	for _, table := range p.tables {
		rows, err := tx.Query(ctx, dependentsOf, table.name)
		if err != nil {
			return fmt.Errorf("look for what stands on %s: %w", table.name, err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("look for what stands on %s: %w", table.name, err)
		}
		if len(names) > 0 {
			return fmt.Errorf("%w: %s on projections.%s. Drop it, rebuild, and make it again; or let it stand on ledger.events, which is never made anew",
				ErrDependents, strings.Join(names, ", "), table.name)
		}
	}
	return nil
}

// refusedDrop names ErrDependents if Postgres refused to drop a table for the
// sake of what came to stand on it during the fold.
func refusedDrop(err error) error {
	const stateDependents = "2BP01"
	if db.SQLState(err) != stateDependents {
		return err
	}
	return fmt.Errorf("%w, since the rebuild began: %w", ErrDependents, err)
}
