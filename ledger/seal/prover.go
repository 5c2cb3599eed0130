package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"manti/domain"
	"manti/ledger"
)

// Errors of a Prover. Match with errors.Is.
var (
	// ErrNotSealed: no checkpoint covers the event yet. It takes seconds.
	ErrNotSealed = errors.New("seal: not sealed yet")
	// ErrNoTile: no checkpoint's tree has this tile.
	ErrNoTile = errors.New("seal: no such tile")
)

// A Prover makes receipts from what is in the ledger. It needs no key, and is
// for concurrent use.
type Prover struct {
	q    ledger.Querier
	tree *tree
}

// NewProver makes a Prover. The querier may be a pool that runs as the writer or
// the auditor.
func NewProver(q ledger.Querier) *Prover { return &Prover{q: q, tree: &tree{keepLeaves: true}} }

// A Call is what is known of an event about a call before it is proved. Only
// those who may see it may know that it exists.
type Call struct {
	ID      domain.EventID
	Org     domain.OrgID
	Project domain.ProjectID
	Key     domain.KeyID

	index      int64
	recordedAt time.Time
	canonical  []byte
	by         domain.EventID // what supersedes it, or zero
	byIndex    int64
}

// Find looks for an event about a call by its id: the call's own, which is the
// request's, or that of a correction. Any other id is ledger.ErrNotFound.
func (p *Prover) Find(ctx context.Context, id domain.EventID) (Call, error) {
	const query = `SELECT e.index, e.recorded_at, e.canonical, e.org_id, e.project_id, e.key_id, s.by, s.by_index
		FROM ledger.ids i JOIN ledger.events e ON e.index = i.index LEFT JOIN ledger.supersedes s ON s.id = i.id
		WHERE i.id = $1 AND e.request_id IS NOT NULL`
	c := Call{ID: id}
	var org, project, key, by *[16]byte
	var byIndex *int64
	err := p.q.QueryRow(ctx, query, [16]byte(id)).Scan(&c.index, &c.recordedAt, &c.canonical, &org, &project, &key, &by, &byIndex)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, fmt.Errorf("%w: %s", ledger.ErrNotFound, id)
	}
	if err != nil {
		return c, fmt.Errorf("look for call %s: %w", id, err)
	}
	c.Org, c.Project, c.Key, c.by = orZero[domain.OrgID](org), orZero[domain.ProjectID](project), orZero[domain.KeyID](key), orZero[domain.EventID](by)
	if byIndex != nil {
		c.byIndex = *byIndex
	}
	return c, nil
}

func orZero[I ~[16]byte](id *[16]byte) (zero I) {
	if id == nil {
		return zero
	}
	return I(*id)
}

// A Proof is a receipt, and what became of the call since.
type Proof struct {
	Receipt
	// SupersededBy is the event that replaced this one, zero if none has that the
	// checkpoint covers.
	SupersededBy domain.EventID
}

// Prove makes the receipt of a call under the last checkpoint. It is ErrNotSealed
// if that doesn't cover the call yet. The proof is checked before it is returned:
// one that doesn't hold is ErrInconsistent.
func (p *Prover) Prove(ctx context.Context, c Call) (Proof, error) {
	checkpoint, err := p.Checkpoint(ctx)
	if errors.Is(err, ErrNone) || err == nil && checkpoint.Size <= c.index {
		return Proof{}, fmt.Errorf("%w: %s", ErrNotSealed, c.ID)
	}
	if err != nil {
		return Proof{}, err
	}
	out := Proof{Receipt: Receipt{Index: c.index, Entry: domain.LogEntry(c.recordedAt, c.canonical), Checkpoint: checkpoint}}
	out.Proof, err = tlog.ProveRecord(checkpoint.Size, c.index, p.tree.reader(ctx, p.q, checkpoint.Size))
	if err == nil && tlog.CheckRecord(out.Proof, checkpoint.Size, checkpoint.Root, c.index, tlog.RecordHash(out.Entry)) != nil {
		err = fmt.Errorf("%w: event %d can't be proved under %s", ErrInconsistent, c.index, checkpoint)
	}
	if err != nil {
		p.tree.forget() // it may be of a ledger that was replaced
		return Proof{}, fmt.Errorf("prove %s: %w", c.ID, err)
	}
	if c.byIndex < checkpoint.Size {
		out.SupersededBy = c.by
	}
	return out, nil
}

// Checkpoint is the last one, or ErrNone.
func (p *Prover) Checkpoint(ctx context.Context) (Checkpoint, error) { return Latest(ctx, p.q) }

// Tile returns a tile of the tree by its path behind "tile/", as in
// https://c2sp.org/tlog-tiles: "0/x001/x234/067" or "1/003.p/17". It is ErrNoTile
// for what the last checkpoint doesn't cover.
func (p *Prover) Tile(ctx context.Context, path string) ([]byte, error) {
	t, err := tlog.ParseTilePath("tile/8/" + path)
	if err != nil || t.L < 0 || t.L >= tileLevels || strings.HasPrefix(path, "data/") {
		return nil, ErrNoTile
	}
	c, err := p.Checkpoint(ctx)
	if errors.Is(err, ErrNone) {
		return nil, ErrNoTile
	}
	if err != nil {
		return nil, err
	}
	id := tileID{t.L, t.N}
	if t.N > c.Size>>tileHeight || widthAt(id, c.Size) < t.W {
		return nil, ErrNoTile
	}
	return p.tree.tile(ctx, p.q, id, t.W)
}

// Private reads the private part of an event about a call, and its salt.
func (p *Prover) Private(ctx context.Context, c Call) (salt domain.Salt, part []byte, err error) {
	const query = `SELECT private_salt, private FROM ledger.events WHERE index = $1`
	var s []byte
	if err := p.q.QueryRow(ctx, query, c.index).Scan(&s, &part); err != nil {
		return salt, nil, fmt.Errorf("read the private part of %s: %w", c.ID, err)
	}
	copy(salt[:], s)
	return salt, part, nil
}
