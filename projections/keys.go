package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// Keys is every key that was ever issued, with what became of it.
func Keys() *Projection {
	return &Projection{name: "keys", version: 1, control: true, tables: []table{{"keys", "id"}}, fold: foldKeys}
}

// foldKeys: a key is what its first KeyIssued says, and revoked by the first
// KeyRevoked behind that.
func foldKeys(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error) {
	const issue = `INSERT INTO {keys} (id, org_id, project_id, user_id, service_id, hash, hint, issued_at, issued_by, index, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING`
	const revoke = `UPDATE {keys} SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL`
	entries, err := b.Entries(ctx, domain.KindKeyIssued, domain.KindKeyRevoked)
	if err != nil {
		return decimal.Zero, err
	}
	w := rowWriter{p: p}
	for _, e := range entries {
		switch k := e.Event.Body.(type) {
		case *domain.KeyIssued:
			w.write(k.Key, issue, k.Key, k.Org, k.Project, k.User, k.Service, k.Private.Hash, k.Private.Hint,
				e.Event.At, e.Event.Author, e.Index, timeOrNull(k.Expires))
		case *domain.KeyRevoked:
			w.write(k.Key, revoke, k.Key, e.Event.At, e.Event.Author)
		}
	}
	if len(w.ids) == 0 {
		return decimal.Zero, nil
	}
	if err := p.notify(ctx, tx); err != nil {
		return decimal.Zero, err
	}
	return w.run(ctx, tx)
}

// IssueKey asks for a key.
type IssueKey struct {
	Event   domain.EventID
	At      time.Time
	Author  string
	Key     domain.KeyID
	Org     domain.OrgID
	Project domain.ProjectID
	User    domain.UserID    // zero if it is nobody's
	Service domain.ServiceID // zero if it is no service account's
	Secret  domain.KeySecret
	Name    string    // for people, at most maxName bytes
	Expires time.Time // zero is never
}

// maxName is domain.Named's limit in bytes.
const maxName = 256

// DecideIssue decides that a key may call. It reads Keys and Orgs. It refuses
// with a *domain.Error: CodeNotFound for a project that the organisation
// doesn't have, CodeConflict for a secret that another key has,
// CodeInvalid for what makes no sense; with ErrParked if it can't know. A key
// that was issued already, with the same secret, needs no event.
func DecideIssue(ctx context.Context, tx pgx.Tx, c IssueKey) ([]domain.Event, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := refuseParked(ctx, tx, Keys().Name(), Orgs().Name()); err != nil {
		return nil, err
	}
	const query = `SELECT EXISTS (SELECT FROM projections.projects WHERE id = $1 AND org_id = $2),
		(SELECT id FROM projections.keys WHERE hash = $3 OR id = $4 ORDER BY id <> $4 LIMIT 1),
		EXISTS (SELECT FROM projections.keys WHERE hash = $3 AND id = $4)`
	var hasProject, same bool
	var taken *domain.KeyID
	err := tx.QueryRow(ctx, query, c.Project, c.Org, c.Secret.Hash, c.Key).Scan(&hasProject, &taken, &same)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for the key's project: %w", err)
	case !hasProject:
		return nil, &domain.Error{Code: domain.CodeNotFound, Field: "project", Message: "There is no such project in the organisation."}
	case same:
		return nil, nil
	case taken != nil:
		return nil, &domain.Error{Code: domain.CodeConflict, Field: "key", Message: "Another key has this id or this secret: make a new one."}
	}
	body := &domain.KeyIssued{
		Org: c.Org, Project: c.Project, Key: c.Key, User: c.User, Service: c.Service, Expires: c.Expires,
		Private: c.Secret, Erasable: domain.Named{Name: c.Name},
	}
	return []domain.Event{{ID: c.Event, At: c.At, Author: c.Author, Body: body}}, nil
}

func (c IssueKey) check() error {
	switch {
	case c.Key.IsZero():
		return domain.Invalid("key", "The key needs an id.")
	case len(c.Secret.Hash) != 64:
		return domain.Invalid("key", "The key's hash must be 64 hexadecimal digits.")
	case len(c.Name) > maxName:
		return domain.Invalid("name", fmt.Sprintf("The name is longer than %d bytes.", maxName))
	case !c.Expires.IsZero() && !c.Expires.After(c.At):
		return domain.Invalid("expires", "The key would have expired already.")
	}
	return nil
}

// RevokeKey asks to end a key.
type RevokeKey struct {
	Event  domain.EventID
	At     time.Time
	Author string
	Key    domain.KeyID
}

// DecideRevoke decides that a key may not call any more. It reads Keys. An
// unknown key is refused with CodeNotFound; one that is revoked already needs
// no event. It decides even if events are parked: that a key ends is always safe.
func DecideRevoke(ctx context.Context, tx pgx.Tx, c RevokeKey) ([]domain.Event, error) {
	const query = `SELECT org_id, project_id, revoked_at IS NOT NULL FROM projections.keys WHERE id = $1
		UNION ALL
		SELECT e.org_id, e.project_id, false FROM projections.parked k JOIN ledger.events e ON e.index = k.index
		WHERE k.projection = 'keys' AND k.key_id = $1 AND e.kind = 'KeyIssued' AND e.org_id IS NOT NULL AND e.project_id IS NOT NULL LIMIT 1`
	body := &domain.KeyRevoked{Key: c.Key}
	revoked := false
	err := tx.QueryRow(ctx, query, c.Key).Scan(&body.Org, &body.Project, &revoked)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &domain.Error{Code: domain.CodeNotFound, Field: "key", Message: "There is no such key."}
	}
	if err != nil {
		return nil, fmt.Errorf("look for the key: %w", err)
	}
	if revoked {
		return nil, nil
	}
	return []domain.Event{{ID: c.Event, At: c.At, Author: c.Author, Body: body}}, nil
}

// KeyRow is a key as people see it.
type KeyRow struct {
	ID      domain.KeyID
	Org     domain.OrgID
	Project domain.ProjectID
	User    domain.UserID
	Service domain.ServiceID
	// Name is "" if it has none, or was erased.
	Name     string
	Hint     string
	Issued   time.Time
	IssuedBy string
	// Expires and Revoked are zero if never.
	Expires, Revoked time.Time
	RevokedBy        string
	// Shut is set if an event about the key couldn't be folded: it may not call.
	Shut bool
}

// ListKeys lists the keys of an organisation, or of all if org is zero, in the
// order in which they were issued.
func ListKeys(ctx context.Context, q Querier, org domain.OrgID) ([]KeyRow, error) {
	const query = `SELECT k.id, k.org_id, k.project_id, k.user_id, k.service_id, COALESCE(e.name, ''), k.hint, k.issued_at, k.issued_by,
			k.expires_at, k.revoked_at, COALESCE(k.revoked_by, '')
		FROM projections.keys k LEFT JOIN ledger.erasable e ON e.index = k.index
		WHERE $1::uuid IS NULL OR k.org_id = $1 ORDER BY k.index`
	rows, err := q.Query(ctx, query, idOrNull(org))
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, scanKeyRow)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	parked, err := ReadParked(ctx, q, Keys().Name())
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	for i := range keys {
		keys[i].Shut = slices.ContainsFunc(parked, func(k Parked) bool { return k.Key == keys[i].ID })
	}
	return keys, nil
}

func scanKeyRow(row pgx.CollectableRow) (KeyRow, error) {
	var k KeyRow
	var expires, revoked *time.Time
	err := row.Scan(&k.ID, &k.Org, &k.Project, &k.User, &k.Service, &k.Name, &k.Hint, &k.Issued, &k.IssuedBy,
		&expires, &revoked, &k.RevokedBy)
	k.Issued, k.Expires, k.Revoked = k.Issued.UTC(), timeOrZero(expires), timeOrZero(revoked)
	return k, err
}
