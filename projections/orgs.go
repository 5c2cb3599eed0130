package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// Orgs are the organisations and their projects.
func Orgs() *Projection {
	return &Projection{name: "orgs", version: 1, control: true, tables: []table{{"orgs", "id"}, {"projects", "id"}}, fold: foldOrgs}
}

func foldOrgs(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error) {
	const insertOrg = `INSERT INTO {orgs} (id, created_at, index) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`
	const insertProject = `INSERT INTO {projects} (id, org_id, created_at, index) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`
	entries, err := b.Entries(ctx, domain.KindOrgCreated, domain.KindProjectCreated)
	if err != nil {
		return decimal.Zero, err
	}
	w := rowWriter{p: p}
	for _, e := range entries {
		switch body := e.Event.Body.(type) {
		case *domain.OrgCreated:
			w.write(body.Org, insertOrg, body.Org, e.Event.At, e.Index)
		case *domain.ProjectCreated:
			w.write(body.Project, insertProject, body.Project, body.Org, e.Event.At, e.Index)
		}
	}
	return w.run(ctx, tx)
}

// Bootstrap makes the default organisation with its default project.
type Bootstrap struct {
	At     time.Time
	Author string
}

// DefaultOrg and DefaultProject are where keys belong if nobody says
// otherwise. Their ids follow from their names, so that any number of replicas
// that start at once mean the same two.
func DefaultOrg() domain.OrgID {
	return domain.DerivedID[domain.OrgID](time.UnixMilli(0), "org", defaultName)
}

// DefaultProject is the default organisation's project.
func DefaultProject() domain.ProjectID {
	return domain.DerivedID[domain.ProjectID](time.UnixMilli(0), "project", defaultName, defaultName)
}

const defaultName = "default"

// DecideBootstrap decides the events that are missing for a default
// organisation and project; none if both are there, or if it can't know because
// an event is parked. It reads Orgs.
func DecideBootstrap(ctx context.Context, tx pgx.Tx, c Bootstrap) ([]domain.Event, error) {
	if err := refuseParked(ctx, tx, Orgs().Name()); errors.Is(err, ErrParked) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	const query = `SELECT EXISTS (SELECT FROM projections.orgs WHERE id = $1), EXISTS (SELECT FROM projections.projects WHERE id = $2)`
	var hasOrg, hasProject bool
	if err := tx.QueryRow(ctx, query, DefaultOrg(), DefaultProject()).Scan(&hasOrg, &hasProject); err != nil {
		return nil, fmt.Errorf("look for the default organisation: %w", err)
	}
	var events []domain.Event
	add := func(body domain.Body) {
		id := domain.DerivedID[domain.EventID](time.UnixMilli(0), string(body.Kind()), defaultName)
		events = append(events, domain.Event{ID: id, At: c.At, Author: c.Author, Body: body})
	}
	name := domain.Named{Name: defaultName}
	if !hasOrg {
		add(&domain.OrgCreated{Org: DefaultOrg(), Erasable: name})
	}
	if !hasProject {
		add(&domain.ProjectCreated{Org: DefaultOrg(), Project: DefaultProject(), Erasable: name})
	}
	return events, nil
}
