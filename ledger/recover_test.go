package ledger_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/spool"
)

// A replica has a spool, and on a database all that keeps both together.
type replica struct {
	t     *testing.T
	dir   string
	spool ackedSpool
	watch *ledger.Watch
	led   *ledger.Ledger
	log   *lockedLog
	stop  func() // and give the spool back
}

func newReplica(t *testing.T, dir string, pool *pgxpool.Pool) *replica {
	t.Helper()
	r := &replica{t: t, dir: dir, spool: openSpool(t, dir), led: ledger.New(pool), log: new(lockedLog)}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	if r.watch, err = ledger.NewWatch(ledger.WatchConfig{Dir: dir, Highest: r.spool.Highest(), Log: log}); err != nil {
		t.Fatal(err)
	}
	r.watch.Guard(r.led)
	shipper, err := ledger.NewShipper(ledger.ShipperConfig{Ledger: r.led, Spool: r.spool, Replica: "a", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	mirror, err := ledger.NewMirror(ledger.MirrorConfig{Ledger: r.led, Watch: r.watch, Spool: r.spool, Keep: time.Hour, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{shipper.Run, r.watch.Run, mirror.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := r.spool.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// calls records n calls and ships them.
func (r *replica) calls(n int) {
	r.t.Helper()
	record(r.t, r.spool.Spool, n)
	r.spool.drained(r.t)
}

// settle waits until the replica has seen all, and the spool has what came from no
// spool.
func (r *replica) settle(pool *pgxpool.Pool) {
	r.t.Helper()
	size := count(r.t, pool, `SELECT size FROM ledger.head`)
	eventually(r.t, "entries to be mirrored", func() bool {
		seen := r.watch.Seen()
		return seen.Mirrored >= int64(size) && seen.Size >= int64(size)
	})
}

func (r *replica) command(bodies ...domain.Body) []ledger.Entry {
	r.t.Helper()
	return command(r.t, r.led, bodies...)
}

func command(t *testing.T, l *ledger.Ledger, bodies ...domain.Body) []ledger.Entry {
	t.Helper()
	entries, err := l.Command(t.Context(), nil, func(_ context.Context, _ pgx.Tx, at time.Time) ([]domain.Event, error) {
		var events []domain.Event
		for _, body := range bodies {
			events = append(events, domain.Event{ID: newID[domain.EventID](), At: at, Author: "system:test", Body: body})
		}
		return events, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func newOrg(name string) domain.Body {
	return &domain.OrgCreated{Org: newID[domain.OrgID](), Erasable: domain.Named{Name: name}}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	late, tick := time.After(time.Minute), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// rowsBelow is every column of every row of the ledger below an index, by table.
func rowsBelow(t *testing.T, pool *pgxpool.Pool, size int64) map[string]string {
	t.Helper()
	all := map[string]string{}
	for table, query := range map[string]string{
		"events":     `SELECT e::text FROM ledger.events e WHERE index < $1 ORDER BY index`,
		"ids":        `SELECT i::text FROM ledger.ids i WHERE index < $1 ORDER BY index`,
		"erasable":   `SELECT x::text FROM ledger.erasable x WHERE index < $1 ORDER BY index`,
		"supersedes": `SELECT s::text FROM ledger.supersedes s WHERE by_index < $1 ORDER BY by_index`,
	} {
		rows, err := pool.Query(t.Context(), query, size)
		if err != nil {
			t.Fatal(err)
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
		all[table] = fmt.Sprint(len(texts), " rows, ", hex(sum[:]))
	}
	return all
}

// A lost ledger was backed up when it had size entries, and had more, of which the
// spools of two replicas know.
type lost struct {
	restored *pgxpool.Pool // the superuser's
	size     int64         // of the backup
	grown    int64         // of the ledger that was lost
	rows     map[string]string
	rejected int
	dirs     []string
}

func lose(t *testing.T) lost {
	t.Helper()
	live := dbtest.Open(t, dbtest.Options{})
	pool := ownPool(t, live.URL())
	l := lost{dirs: []string{t.TempDir(), t.TempDir()}}
	a, b := newReplica(t, l.dirs[0], pool), newReplica(t, l.dirs[1], pool)
	a.calls(30)
	b.calls(30)
	a.command(newOrg("before"))
	l.size = int64(count(t, pool, `SELECT size FROM ledger.head`))
	a.settle(pool)
	b.settle(pool)
	a.stop()
	b.stop()
	pool.Close()
	l.restored = ownPool(t, backUp(t, live))

	pool = ownPool(t, live.URL())
	a, b = newReplica(t, l.dirs[0], pool), newReplica(t, l.dirs[1], pool)
	for range 6 {
		a.calls(7)
		b.calls(5)
		a.command(newOrg("after"))
	}
	correct(t, b.led, pool, 3)
	forget(t, a.led, pool, 5, l.size+1, l.size+9)
	bad := newID[domain.EventID]()
	if _, err := a.spool.Start(bad, nil, 100); err != nil {
		t.Fatal(err)
	}
	if err := a.spool.End(bad, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	a.calls(4)
	b.calls(4)
	command(t, ledger.New(pool), newOrg("by the command line"))
	a.settle(pool)
	b.settle(pool)
	a.stop()
	b.stop()
	checkInvariants(t, pool, 0)
	l.grown = int64(count(t, pool, `SELECT size FROM ledger.head`))
	l.rows, l.rejected = rowsBelow(t, pool, l.grown), count(t, pool, `SELECT count(*) FROM ledger.rejected`)
	return l
}

// correct supersedes the call at an index.
func correct(t *testing.T, l *ledger.Ledger, pool *pgxpool.Pool, index int64) {
	t.Helper()
	entries, err := ledger.Read(t.Context(), pool, index, 1)
	if err != nil {
		t.Fatal(err)
	}
	call := *entries[0].Event.Body.(*domain.RequestCompleted)
	call.Request, call.Supersedes = entries[0].Event.ID, entries[0].Event.ID
	command(t, l, &domain.UsageCorrected{Call: call, Basis: domain.Waive})
}

// forget erases parts and says so.
func forget(t *testing.T, l *ledger.Ledger, pool *pgxpool.Pool, indexes ...int64) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `DELETE FROM ledger.erasable WHERE index = ANY($1)`, indexes); err != nil {
		t.Fatal(err)
	}
	command(t, l, &domain.PersonForgotten{Indexes: indexes, Through: indexes[len(indexes)-1] + 1})
}

// recovery reads the spools; batches are small, so that there are many.
func recovery(t *testing.T, pool *pgxpool.Pool, progress func(done, of int64), dirs ...string) *ledger.Recovery {
	t.Helper()
	r, err := ledger.NewRecovery(t.Context(), ledger.RecoverConfig{Ledger: ledger.New(pool), Spools: dirs, Batch: 10, Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // only read
	return r
}

func mustDo(t *testing.T, steps ...func(context.Context) error) {
	t.Helper()
	for _, step := range steps {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func mustResend(t *testing.T, r *ledger.Recovery) ledger.Result {
	t.Helper()
	res, err := r.Resend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// What was lost is put back as it was: every column of every row, the parts that
// were erased aside, from the spools of two replicas; calls that came meanwhile
// are shipped behind it.
func TestRecoverPutsBackWhatWasLost(t *testing.T) {
	t.Parallel()
	l := lose(t)
	a := newReplica(t, l.dirs[0], l.restored)
	record(t, a.spool.Spool, 3)
	eventually(t, "the replica to find the ledger behind", func() bool { return strings.Contains(a.watch.Frozen(), "ledger behind") })
	head, err := ledger.ReadHead(t.Context(), l.restored)
	if err != nil || !head.Frozen || head.Size != l.size || !strings.HasPrefix(head.Reason, "ledger behind: it has "+fmt.Sprint(l.size)+" entries, but had "+fmt.Sprint(l.grown)) {
		t.Fatalf("head %+v, %v", head, err)
	}
	_, err = a.led.Append(t.Context(), calls(t, 1))
	wantIs(t, err, ledger.ErrBehind)

	r := recovery(t, l.restored, nil, l.dirs...)
	if !r.Needed() || !r.Whole() || r.Target != l.grown || r.Refillable != l.grown-l.size || len(r.Missing)+len(r.Damage)+r.Unplaced > 0 {
		t.Fatalf("findings %+v", r.Findings)
	}
	mustDo(t, r.Freeze, r.Refill)
	checkInvariants(t, l.restored, 0)
	if diff := cmp.Diff(l.rows, rowsBelow(t, l.restored, l.grown)); diff != "" {
		t.Errorf("rows that aren't as they were (-lost +recovered):\n%s", diff)
	}
	mustResend(t, r)
	mustDo(t, r.Thaw)
	if n := count(t, l.restored, `SELECT count(*) FROM ledger.rejected`); n != l.rejected || n == 0 {
		t.Errorf("%d records are set aside, want %d", n, l.rejected)
	}
	a.spool.drained(t)
	a.stop()
	checkInvariants(t, l.restored, 0)
	if n := int64(count(t, l.restored, `SELECT count(*) FROM ledger.events`)); n != l.grown+3 {
		t.Errorf("%d events, want %d", n, l.grown+3)
	}
	if n := a.log.count("level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log, want the one alarm:\n%s", n, a.log.text.String())
	}

	if again := recovery(t, l.restored, nil, l.dirs...); again.Needed() {
		t.Errorf("recovered twice: %+v", again.Findings)
	}
}

// A recovery that is cut off after any batch is gone on with by the next.
func TestRecoverGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	l := lose(t)
	for cut := int64(0); ; cut++ {
		ctx, cancel := context.WithCancel(t.Context())
		batches := int64(0)
		r := recovery(t, l.restored, func(int64, int64) {
			if batches++; batches > cut%3 {
				cancel()
			}
		}, l.dirs...)
		mustDo(t, r.Freeze)
		err := r.Refill(ctx)
		checkInvariants(t, l.restored, 0)
		cancel()
		if err == nil {
			mustResend(t, r)
			mustDo(t, r.Thaw)
			break
		}
		if head, err := ledger.ReadHead(t.Context(), l.restored); err != nil || !head.Frozen {
			t.Fatalf("head %+v, %v", head, err)
		}
	}
	if diff := cmp.Diff(l.rows, rowsBelow(t, l.restored, l.grown)); diff != "" {
		t.Errorf("rows that aren't as they were (-lost +recovered):\n%s", diff)
	}
}

// Without one of the spools the gaps are named, and accepted on demand: what is at
// hand is appended behind a new origin, and what turns up later too. Replicas that
// remember the old ledger go on with it.
func TestRecoverWithALoss(t *testing.T) {
	t.Parallel()
	l := lose(t)
	r := recovery(t, l.restored, nil, l.dirs[0])
	if r.Whole() || len(r.Missing) == 0 || r.Target != l.grown || r.Refillable == 0 {
		t.Fatalf("findings %+v", r.Findings)
	}
	missing := int64(0)
	for _, m := range r.Missing {
		missing += m.To - m.From
	}
	unplaced := r.Unplaced
	if missing != 6*5+4 {
		t.Errorf("%d entries are missing: %v; want the calls of the other replica", missing, r.Missing)
	}
	mustDo(t, r.Freeze, r.Refill)
	place, err := r.BeginAnew(t.Context(), ledger.Loss{Author: "operator:test", Origin: "x#2", Previous: "a note", Cause: "the disk is lost"})
	if err != nil || place.Index != l.size+r.Refillable {
		t.Fatalf("began anew at %+v, %v", place, err)
	}
	res := mustResend(t, r)
	mustDo(t, r.Thaw)
	checkInvariants(t, l.restored, 0)
	if n := l.grown - missing - l.size - r.Refillable - 1; int64(res.Appended) != n || int64(unplaced) != n { // all but the forgetting, which names old indexes
		t.Errorf("%d events were appended anew, announced as %d, want %d", res.Appended, unplaced, n)
	}
	entry, err := ledger.Read(t.Context(), l.restored, place.Index, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := &domain.OriginStarted{Origin: "x#2", Previous: "a note", Size: place.Index, Missing: r.Missing, Cause: "the disk is lost"}
	if diff := cmp.Diff(want, entry[0].Event.Body); diff != "" || entry[0].Event.Author != "operator:test" {
		t.Errorf("by %s (-want +got):\n%s", entry[0].Event.Author, diff)
	}

	a, b := newReplica(t, l.dirs[0], l.restored), newReplica(t, l.dirs[1], l.restored)
	a.calls(2)
	b.calls(2)
	if a.watch.Frozen()+b.watch.Frozen() != "" {
		t.Errorf("behind: %q, %q", a.watch.Frozen(), b.watch.Frozen())
	}
	a.stop()
	b.stop()

	late := recovery(t, l.restored, nil, l.dirs...)
	if !late.Needed() || !late.Whole() || late.Refillable != 0 || late.Unplaced != int(missing) {
		t.Fatalf("with the other spool: %+v", late.Findings)
	}
	mustDo(t, late.Freeze, late.Refill)
	mustResend(t, late)
	mustDo(t, late.Thaw)
	checkInvariants(t, l.restored, 0)
	if again := recovery(t, l.restored, nil, l.dirs...); again.Needed() {
		t.Errorf("after all: %+v", again.Findings)
	}
	if n := int64(count(t, l.restored, `SELECT count(*) FROM ledger.events`)); n != l.grown+1-1+4 {
		t.Errorf("%d events, want %d", n, l.grown+4)
	}
	checkNone(t, l.restored, "strings of who was forgotten", fmt.Sprintf(`SELECT count(*) FROM ledger.erasable WHERE index IN (5, %d)`, l.size+1))
}

// flip damages a record of a spool that was shipped: the first of a kind behind so
// many ends.
func flip(t *testing.T, dir string, kind spool.Kind, ends int) (file string) {
	t.Helper()
	a, err := spool.OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range a.All() {
		if err != nil {
			t.Fatal(err)
		}
		if ends <= 0 && r.Kind == kind {
			file = filepath.Join(dir, fmt.Sprintf("%010d.seg", r.Pos.Segment()))
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte{r.Payload[0] ^ 1}, r.Pos.Offset()+48); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			return file
		}
		if r.Kind == spool.End {
			ends--
		}
	}
	t.Fatal("there is no such record")
	return ""
}

// A flipped byte in a spool costs the call that it is in; one in a record of places
// costs places, and no call.
func TestRecoverFromADamagedSpool(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		kind spool.Kind
		lost int64 // calls
	}{
		{"a call", spool.End, 1},
		{"places", spool.Placed, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := lose(t)
			file := flip(t, l.dirs[0], test.kind, 40)
			r := recovery(t, l.restored, nil, l.dirs...)
			missing := int64(0)
			for _, m := range r.Missing {
				missing += m.To - m.From
			}
			if r.Whole() || missing == 0 || test.lost > 0 && missing != test.lost || len(r.Damage) != 1 || !strings.Contains(r.Damage[0].Error(), file+" is corrupt at offset") {
				t.Fatalf("findings %+v", r.Findings)
			}
			unplaced := r.Unplaced
			mustDo(t, r.Freeze, r.Refill)
			if _, err := r.BeginAnew(t.Context(), ledger.Loss{Author: "operator:test", Origin: "x#2", Cause: "a flipped byte"}); err != nil {
				t.Fatal(err)
			}
			if res := mustResend(t, r); res.Appended != unplaced {
				t.Errorf("%d events were appended anew, announced as %d", res.Appended, unplaced)
			}
			mustDo(t, r.Thaw)
			checkInvariants(t, l.restored, 0)
			if n := int64(count(t, l.restored, `SELECT count(*) FROM ledger.events`)); n != l.grown-test.lost+1-1 { // the new origin, the forgetting
				t.Errorf("%d events, want %d", n, l.grown-test.lost)
			}
			if again := recovery(t, l.restored, nil, l.dirs...); again.Needed() {
				t.Errorf("recovered twice: %+v", again.Findings)
			}
		})
	}
}

// A ledger that went on without what it lost has other entries in its places.
func TestRecoverOfALedgerThatWentOn(t *testing.T) {
	t.Parallel()
	l := lose(t)
	mustAppend(t, ledger.New(l.restored), calls(t, int(l.grown-l.size)+5)...) // nobody watches
	a := newReplica(t, l.dirs[0], l.restored)
	eventually(t, "the replica to find another ledger", func() bool { return strings.Contains(a.watch.Frozen(), "another one at index") })
	a.stop()
	r := recovery(t, l.restored, nil, l.dirs...)
	if r.Whole() || r.Diverged == nil || r.Diverged.Index != l.size || r.Diverged.Here == r.Diverged.There || r.Refillable != 0 {
		t.Fatalf("findings %+v", r.Findings)
	}
	unplaced := r.Unplaced
	mustDo(t, r.Freeze, r.Refill)
	if _, err := r.BeginAnew(t.Context(), ledger.Loss{Author: "operator:test", Origin: "x#2", Cause: "two ledgers"}); err != nil {
		t.Fatal(err)
	}
	if res := mustResend(t, r); res.Appended != unplaced || unplaced == 0 {
		t.Errorf("%d events were appended anew, announced as %d", res.Appended, unplaced)
	}
	mustDo(t, r.Thaw)
	checkInvariants(t, l.restored, 0)
	if again := recovery(t, l.restored, nil, l.dirs...); again.Needed() {
		t.Errorf("after all: %+v", again.Findings)
	}
	if n := int64(count(t, l.restored, `SELECT count(*) FROM ledger.events`)); n != l.grown+(l.grown-l.size)+5+1-1 {
		t.Errorf("%d events", n)
	}
}

// Which database a replica may append to.
func TestWatchKnowsItsLedger(t *testing.T) {
	t.Parallel()
	home := dbtest.Open(t, dbtest.Options{})
	dir := t.TempDir()
	pool := home.Pool(t, db.RoleWriter)
	a := newReplica(t, dir, pool)
	a.calls(5)
	eventually(t, "the first entry to be known", func() bool { return a.watch.Seen().First != [32]byte{} })
	a.stop()
	for _, test := range []struct {
		name   string
		fill   int
		dir    string
		want   string // of the reason
		frozen bool
	}{
		{name: "an empty database", dir: dir, want: "this ledger is empty", frozen: true},
		{name: "another ledger", fill: 9, dir: dir, want: "this is another ledger"},
		{name: "an old ledger, a new directory", fill: 9, dir: t.TempDir()},
	} {
		t.Run(test.name, func(t *testing.T) {
			pool := dbtest.New(t)
			mustAppend(t, ledger.New(pool), calls(t, test.fill)...)
			b := newReplica(t, test.dir, pool)
			record(t, b.spool.Spool, 1)
			if test.want == "" {
				b.spool.drained(t)
			} else {
				eventually(t, "the alarm", func() bool { return strings.Contains(b.watch.Frozen(), test.want) })
			}
			b.stop()
			head, err := ledger.ReadHead(t.Context(), pool)
			if err != nil || head.Frozen != test.frozen || test.want != "" && head.Size != int64(test.fill) {
				t.Errorf("head %+v, %v", head, err)
			}
		})
	}
	b := newReplica(t, dir, pool)
	b.spool.drained(t)
	b.stop()
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 7 {
		t.Errorf("%d events at home, want 7", n)
	}
}

// Nothing is appended onto a ledger that is behind, from the first append on,
// whether or not anybody has frozen it.
func TestNoAppendOntoALedgerThatIsBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := dbtest.New(t)
	mustAppend(t, ledger.New(pool), calls(t, 5)...)
	at, err := ledger.ReadHead(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	for name, seen := range map[string]spool.Head{
		"longer":  {Size: 6, At: at.RecordedAt.Add(1)},
		"another": {Size: 5, At: at.RecordedAt, Leaf: [32]byte{1}},
	} {
		w, err := ledger.NewWatch(ledger.WatchConfig{Dir: dir, Highest: seen, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l := ledger.New(pool)
		w.Guard(l)
		_, err = l.Append(t.Context(), calls(t, 1))
		wantIs(t, err, ledger.ErrBehind)
		_, err = l.Command(t.Context(), nil, func(context.Context, pgx.Tx, time.Time) ([]domain.Event, error) { return nil, nil })
		wantIs(t, err, ledger.ErrBehind)
		if head, err := ledger.ReadHead(t.Context(), pool); err != nil || head.Size != 5 || head.Frozen {
			t.Errorf("%s: head %+v, %v", name, head, err)
		}
	}
}
