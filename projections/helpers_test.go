package projections_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/domain"
	"manti/ledger"
	"manti/projections"
)

var decimals = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

// start is when the calls of these tests begin; their ids carry its time.
var start = time.Date(2026, 11, 22, 10, 59, 0, 0, time.UTC)

// world makes random events. The same seed makes the same.
type world struct {
	rand  *rand.Rand
	clock time.Time
	// events are all that were made, in order.
	events []domain.Event
	// admitted are the times of calls of which events doesn't have the first.
	admitted map[domain.EventID]time.Time
	// open are the calls that may still be superseded.
	open []domain.Event
}

func newWorld(seed uint64) *world {
	return &world{rand: rand.New(rand.NewPCG(seed, 1)), clock: start}
}

func newID[I ~[16]byte](w *world) I {
	var random [10]byte
	binary.LittleEndian.PutUint64(random[:], w.rand.Uint64())
	return domain.NewID[I](w.clock, random)
}

// some is one of n fixed ids.
func some[I ~[16]byte](w *world, kind string, n int) I {
	return domain.DerivedID[I](start, kind, fmt.Sprint(w.rand.IntN(n)))
}

func pick[T any](w *world, from ...T) T { return from[w.rand.IntN(len(from))] }

// call is a new call.
func (w *world) call() domain.Event {
	w.clock = w.clock.Add(time.Duration(w.rand.IntN(3e6)) * time.Microsecond)
	e := domain.Event{ID: newID[domain.EventID](w), At: w.clock, Body: w.body()}
	w.open = append(w.open, e)
	w.events = append(w.events, e)
	return e
}

// correction supersedes one of the calls, or of the corrections. It comes
// later, and says of the call's admission what it likes.
func (w *world) correction() domain.Event {
	if len(w.open) == 0 {
		return w.call()
	}
	w.clock = w.clock.Add(time.Duration(w.rand.IntN(3e6)) * time.Microsecond)
	at := w.rand.IntN(len(w.open))
	old := w.open[at]
	first, _ := domain.CallOf(old.Body)
	body := w.body()
	body.Supersedes, body.Request = old.ID, first.RequestID(old.ID)
	if w.rand.IntN(2) == 0 { // mostly the caller stays who it was
		body.Org, body.Project, body.Key = first.Org, first.Project, first.Key
	}
	e := domain.Event{ID: newID[domain.EventID](w), At: w.clock, Body: body}
	if w.rand.IntN(2) == 0 {
		e.Author, e.Body = "operator:test", &domain.UsageCorrected{Call: *body, Basis: domain.Manual, Reason: "test"}
	}
	w.open[at] = e
	w.events = append(w.events, e)
	return e
}

func (w *world) body() *domain.RequestCompleted {
	b := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Org: some[domain.OrgID](w, "org", 3), Project: some[domain.ProjectID](w, "project", 4),
			Dialect: "openai", Endpoint: "chat.completions", AskedModel: "m", Model: pick(w, "a", "b"),
			Outcome: pick(w, domain.Completed, domain.Completed, domain.Completed, domain.Broken, domain.CallerGone, domain.ProviderError, domain.Unknown),
			Status:  200, Provenance: domain.Reported,
			Charge: domain.Price{Amount: w.amount(), Currency: pick(w, domain.USD, domain.USD, "EUR", domain.XTS)},
		},
		Private: domain.RequestPrivate{
			Provider: pick(w, "openai", "anthropic"),
			Cost:     domain.Price{Amount: w.amount(), Currency: pick(w, domain.USD, domain.XTS)},
		},
	}
	if w.rand.IntN(5) > 0 {
		b.Key = some[domain.KeyID](w, "key", 5)
	}
	if b.Outcome == domain.Unknown {
		b.Held = w.amount().Add(dec("0.000001"))
	}
	for m := range b.Usage {
		if w.rand.IntN(3) == 0 {
			b.Usage[m] = w.rand.Int64N(1 << w.rand.IntN(62))
		}
	}
	return b
}

// amount has up to 18 decimals, and often trailing zeros.
func (w *world) amount() decimal.Decimal {
	return decimal.New(w.rand.Int64N(1e12), -int32(w.rand.IntN(19)))
}

// bench is a database with a ledger.
type bench struct {
	pool   *pgxpool.Pool
	ledger *ledger.Ledger
}

func (b *bench) append(t testing.TB, events ...domain.Event) {
	t.Helper()
	encoded := make([]domain.Encoded, len(events))
	for i, e := range events {
		var err error
		if encoded[i], err = domain.Encode(e, domain.Salt{1}, domain.Salt{2}); err != nil {
			t.Fatal(err)
		}
	}
	for part := range slices.Chunk(encoded, 500) {
		var res ledger.Result
		err := patiently(func() (err error) {
			res, err = b.ledger.Append(t.Context(), part)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Rejected) > 0 {
			t.Fatalf("rejected: %+v", res.Rejected)
		}
	}
}

func (b *bench) catchUp(t testing.TB, ps ...*projections.Projection) {
	t.Helper()
	for _, p := range ps {
		err := patiently(func() error {
			_, err := projections.CatchUp(t.Context(), b.pool, p)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// patiently tries again what a machine under load was too slow for: the
// timeouts of production hold in tests too.
func patiently(do func() error) error {
	for try := 0; ; try++ {
		err := do()
		if try == 20 || !db.IsOutage(err) && !errors.Is(err, ledger.ErrOutage) {
			return err
		}
	}
}

// checkpoint is index and digest.
func (b *bench) checkpoint(t testing.TB, name string) (int64, string) {
	t.Helper()
	var index int64
	var digest []byte
	err := b.pool.QueryRow(t.Context(), `SELECT index, digest FROM projections.checkpoints WHERE name = $1`, name).Scan(&index, &digest)
	if err != nil {
		t.Fatal(err)
	}
	return index, fmt.Sprintf("%x", digest)
}

// rows are a table's rows as text, in the order of its first columns.
func (b *bench) rows(t testing.TB, table string) []string {
	t.Helper()
	return b.rowsOf(t, b.pool, table)
}

func (b *bench) rowsOf(t testing.TB, q projections.Querier, table string) []string {
	t.Helper()
	rows, err := q.Query(t.Context(), `SELECT t::text FROM projections.`+table+` t ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// checkInvariants holds every projection's rows against its digest.
func (b *bench) checkInvariants(t testing.TB) {
	t.Helper()
	for _, p := range projections.All() {
		if err := projections.Verify(t.Context(), b.pool, p); err != nil {
			t.Error(err)
		}
	}
}
