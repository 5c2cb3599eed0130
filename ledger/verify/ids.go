package verify

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger/internal/row"
)

func hashText(h hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

// sumIDs sums up ledger.ids.
func (r *run) sumIDs(ctx context.Context, tx pgx.Tx) error {
	query := fmt.Sprintf(`SELECT %s FROM ledger.ids WHERE index >= %d`, row.IDColumns, r.report.Since)
	err := copyTo(ctx, tx.Conn().PgConn(), query, func(t tuple) error {
		t, err := t.fields(2)
		if err != nil {
			return err
		}
		id, err := t.next()
		if err != nil {
			return err
		}
		index, err := t.next()
		r.storedIDs.add(r.key, uuidOf(id), [16]byte{}, int64Of(index))
		return err
	})
	if err != nil {
		return fmt.Errorf("read ids: %w", err)
	}
	return nil
}

// checkIDs sees to it that each event's id stands in ledger.ids with its index,
// and nothing else.
func (r *run) checkIDs(ctx context.Context, tx pgx.Tx) error {
	if r.storedIDs == r.ids {
		return nil
	}
	before := r.found.count("ids")
	f := Finding{Table: "ids", Problem: "the event's id is not here, or with another index"}
	var index int64
	var id [16]byte
	var there *int64
	err := each(ctx, tx, "ids", []any{&index, &id, &there}, func() error {
		f.Index, f.Expected, f.Found = index, fmt.Sprintf("%s with %d", domain.EventID(id), index), "nothing"
		if there != nil {
			f.Found = fmt.Sprint("index ", *there)
		}
		r.found.add(f)
		return nil
	}, `SELECT e.index, COALESCE(e.id, '00000000-0000-0000-0000-000000000000'), i.index FROM ledger.events e LEFT JOIN ledger.ids i ON i.id = e.id
		WHERE e.index >= $1 AND e.index < $2 AND i.index IS DISTINCT FROM e.index`, r.report.Since, r.head.Size)
	if err != nil {
		return err
	}
	f = Finding{Table: "ids", Problem: "an id is of no event, or of another"}
	err = each(ctx, tx, "ids", []any{&index, &id}, func() error {
		f.Index, f.Found = index, domain.EventID(id).String()
		r.found.add(f)
		return nil
	}, `SELECT i.index, i.id FROM ledger.ids i LEFT JOIN ledger.events e ON e.index = i.index AND e.id = i.id AND e.index < $2
		WHERE i.index >= $1 AND e.id IS NULL`, r.report.Since, r.head.Size)
	if err == nil && r.found.count("ids") == before {
		r.found.add(Finding{Index: NoIndex, Table: "ids", Problem: "the ids are not those of the events"})
	}
	return err
}

// checkSupersedes is the same for what superseded what.
func (r *run) checkSupersedes(ctx context.Context, tx pgx.Tx) error {
	var stored sum
	var id, by [16]byte
	var index int64
	err := each(ctx, tx, "supersedes", []any{&id, &by, &index}, func() error {
		stored.add(r.key, id, by, index)
		return nil
	}, `SELECT id, COALESCE(by, '00000000-0000-0000-0000-000000000000'), COALESCE(by_index, -1) FROM ledger.supersedes WHERE by_index >= $1 OR by_index IS NULL`, r.report.Since)
	if err != nil {
		return err
	}
	if err := r.supersededLater(ctx, tx); err != nil || stored == r.supers {
		return err
	}
	before := r.found.count("supersedes")
	f := Finding{Table: "supersedes", Problem: "is not what the event supersedes"}
	var wantID, storedID *[16]byte
	err = each(ctx, tx, "supersedes", []any{&index, &wantID, &storedID}, func() error {
		f.Index, f.Expected, f.Found = index, idText(wantID), idText(storedID)
		r.found.add(f)
		return nil
	}, `SELECT COALESCE(e.index, s.by_index, -1), e.supersedes, s.id
		FROM (SELECT index, id, supersedes FROM ledger.events WHERE supersedes IS NOT NULL AND index >= $1 AND index < $2) e
		FULL JOIN (SELECT id, by, by_index FROM ledger.supersedes WHERE by_index >= $1 OR by_index IS NULL) s ON s.by_index = e.index AND s.by = e.id AND s.id = e.supersedes
		WHERE e.id IS NULL OR s.id IS NULL`, r.report.Since, r.head.Size)
	if err == nil && r.found.count("supersedes") == before {
		r.found.add(Finding{Index: NoIndex, Table: "supersedes", Problem: "is not what the events say"})
	}
	return err
}

// supersededLater finds events that supersede what isn't there, or a later one.
func (r *run) supersededLater(ctx context.Context, tx pgx.Tx) error {
	f := Finding{Table: "supersedes", Column: "id", Problem: "what the event supersedes is not in the ledger before it"}
	var id [16]byte
	return each(ctx, tx, "supersedes", []any{&f.Index, &id}, func() error {
		f.Found = domain.EventID(id).String()
		r.found.add(f)
		return nil
	}, `SELECT s.by_index, s.id FROM ledger.supersedes s LEFT JOIN ledger.ids i ON i.id = s.id
		WHERE s.by_index >= $1 AND (i.id IS NULL OR i.index >= s.by_index)`, r.report.Since)
}

func idText(id *[16]byte) string {
	if id == nil {
		return "nothing"
	}
	return domain.EventID(*id).String()
}
