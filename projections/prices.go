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

// Prices are the versions of the price book. The last in the ledger holds.
func Prices() *Projection {
	return &Projection{name: "prices", version: 1, control: true, tables: []table{{"prices", "id"}}, fold: foldPrices}
}

// BuiltinAuthor is the author of publications of the built-in list. Whatever
// anybody else publishes is an operator's.
const BuiltinAuthor = "system:builtin-prices"

func foldPrices(ctx context.Context, tx pgx.Tx, p *Projection, b *ledger.Batch) (decimal.Decimal, error) {
	const insert = `INSERT INTO {prices} (id, number, digest, builtin, published_at, published_by, index)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING`
	entries, err := b.Entries(ctx, domain.KindPricesPublished)
	if err != nil {
		return decimal.Zero, err
	}
	w := rowWriter{p: p}
	for _, e := range entries {
		if v, ok := e.Event.Body.(*domain.PricesPublished); ok {
			if _, err := bookOf(e.Event); err != nil {
				return decimal.Zero, err
			}
			w.write(e.Event.ID, insert, e.Event.ID, v.Number, v.Digest, e.Event.Author == BuiltinAuthor, e.Event.At, e.Event.Author, e.Index)
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

// PublishPrices asks for a new version of the price book.
type PublishPrices struct {
	Event  domain.EventID
	At     time.Time
	Author string
	Book   *domain.PriceBook
}

// ErrSamePrices is returned for a publication that would change nothing.
var ErrSamePrices = errors.New("these prices hold already")

// DecidePublish decides an operator's publication. It reads Prices. It refuses
// with domain.ErrPrice, ErrSamePrices, or ErrParked if it can't know what holds.
//
// A list that an operator has published holds until an operator publishes
// another one: a new built-in list doesn't replace it. To go back to the
// built-in list, publish that.
func DecidePublish(ctx context.Context, tx pgx.Tx, c PublishPrices) ([]domain.Event, error) {
	if c.Author == BuiltinAuthor {
		return nil, fmt.Errorf("publish prices: %q is not an operator", c.Author)
	}
	if err := refuseParked(ctx, tx, Prices().Name()); err != nil {
		return nil, err
	}
	versions, err := readVersions(ctx, tx)
	if err != nil {
		return nil, err
	}
	return c.decide(versions, false)
}

// DecideBuiltin decides whether the built-in list is published. It reads
// Prices. It is if there is no list yet; or if the one that holds is a
// built-in one and this one was never published. So an operator's list stays,
// and during an upgrade, or after going back, an older program doesn't bring
// its list back. While an event is parked it isn't either.
func DecideBuiltin(ctx context.Context, tx pgx.Tx, c PublishPrices) ([]domain.Event, error) {
	c.Author = BuiltinAuthor
	if err := refuseParked(ctx, tx, Prices().Name()); errors.Is(err, ErrParked) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	versions, err := readVersions(ctx, tx)
	if err != nil {
		return nil, err
	}
	if n := len(versions); n > 0 && !versions[n-1].Builtin {
		return nil, nil
	}
	events, err := c.decide(versions, true)
	if errors.Is(err, ErrSamePrices) {
		return nil, nil
	}
	return events, err
}

// decide makes the event, unless the book holds already or, if ever, has been
// published before by the same kind of author.
func (c PublishPrices) decide(versions []PriceVersion, ever bool) ([]domain.Event, error) {
	if err := c.Book.Check(); err != nil {
		return nil, err
	}
	digest, err := BookDigest(c.Book)
	if err != nil {
		return nil, err
	}
	number := 1
	for i, v := range versions {
		number = max(number, v.Number+1)
		if v.Digest == digest && (i == len(versions)-1 || ever && v.Builtin) {
			return nil, fmt.Errorf("%w, as version %d", ErrSamePrices, v.Number)
		}
	}
	body := &domain.PricesPublished{Number: number, Digest: digest, Private: c.Book}
	return []domain.Event{{ID: c.Event, At: c.At, Author: c.Author, Body: body}}, nil
}

// PriceVersion is one publication.
type PriceVersion struct {
	ID        domain.EventID
	Number    int
	Digest    string
	Builtin   bool
	Published time.Time
	By        string
	Index     int64
}

// ListPriceVersions lists all publications, the one that holds last.
func ListPriceVersions(ctx context.Context, q Querier) ([]PriceVersion, error) {
	return readVersions(ctx, q)
}

func readVersions(ctx context.Context, q Querier) ([]PriceVersion, error) {
	const query = `SELECT id, number, digest, builtin, published_at, published_by, index FROM projections.prices ORDER BY index`
	rows, err := q.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list price versions: %w", err)
	}
	versions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PriceVersion])
	if err != nil {
		return nil, fmt.Errorf("list price versions: %w", err)
	}
	for i := range versions {
		versions[i].Published = versions[i].Published.UTC()
	}
	return versions, nil
}
