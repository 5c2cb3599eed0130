package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
)

// drillLoad is how long callers call after a backup: an hour with
// MANTI_TEST_LONG=1, or what -timeout leaves of it, else as long as some calls
// take.
func drillLoad(t *testing.T, crowd *crowd, calls int64) {
	t.Helper()
	if os.Getenv("MANTI_TEST_LONG") == "1" {
		load := time.Hour
		if end, ok := t.Deadline(); ok {
			load = min(load, time.Until(end)-10*time.Minute)
		}
		<-time.After(load)
		return
	}
	awaitCalls(t, crowd, calls)
}

// A cluster is a dbtest server whose files can be replaced.
type cluster struct {
	*dbtest.Server
	dir      string // with data in it
	programs string
	uid, gid uint32 // of the files
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	s := dbtest.NewServer(t, dbtest.ServerOptions{Fsync: true, Settings: map[string]string{"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}})
	u, err := url.Parse(s.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Server: s, dir: u.Query().Get("host")}
	info, err := os.Stat(filepath.Join(c.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	c.uid, c.gid = owner.Uid, owner.Gid
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.PID()))
	if err != nil {
		t.Skipf("where the server's programs are can't be seen here: %v", err)
	}
	if c.programs = filepath.Dir(exe); !exists(filepath.Join(c.programs, "pg_basebackup")) {
		t.Skipf("there is no pg_basebackup in %s", c.programs)
	}
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// as runs a server program as the owner of the cluster's files.
func (c *cluster) as(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.programs, program), args...)
	cmd.Dir = c.dir
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.gid}}
	}
	return cmd
}

// backUp is pg_basebackup into a folder beside the cluster's.
func (c *cluster) backUp(t *testing.T, name string, more ...string) {
	t.Helper()
	args := append([]string{"-D", filepath.Join(c.dir, name), "-X", "stream", "--checkpoint=fast", "--no-sync", "-d", c.URL().Reveal()}, more...)
	if out, err := c.as(t.Context(), "pg_basebackup", args...).CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
}

// lose stops the server like a crash and starts it on other files.
func (c *cluster) lose(t *testing.T, name string) {
	t.Helper()
	c.Stop(t, dbtest.StopImmediate)
	data := filepath.Join(c.dir, "data")
	if err := os.Rename(data, filepath.Join(c.dir, "lost")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(c.dir, name), data); err != nil {
		t.Fatal(err)
	}
	c.Start(t)
}

// leaf is an entry of the ledger as its tree has it.
type leaf struct {
	Index int64
	At    time.Time
	Leaf  []byte
}

func readLeaves(t *testing.T, pool *pgxpool.Pool, below int64) []leaf {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT index, recorded_at, leaf FROM ledger.events WHERE index < $1 ORDER BY index`, below)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[leaf])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	ledgerBehind = regexp.MustCompile(`"level":"ERROR","msg":"ledger behind[^"]*","reason":"ledger behind: `)
	sealedSize   = `SELECT COALESCE((SELECT max(size) FROM ledger.checkpoints), 0) >= $1`
)

// drill is a gateway under load before a cluster, with a sealer.
type drill struct {
	*cluster
	provider *provider
	data     string
	env      environment
	p        *process
	crowd    *crowd
	pool     *pgxpool.Pool
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	d := &drill{cluster: newCluster(t), provider: startProvider(t), data: folder(t)}
	key := strings.TrimSpace(manti(t, nil, "seal", "keygen", "--origin", "drill.example/ledger"))
	d.env = d.provider.env().onDatabase(d.URL()).with("MANTI_SEAL_KEY", key, "MANTI_DATA", d.data)
	d.p = serve(t, d.data, d.env).ready()
	d.crowd = gather(t, "http://"+d.p.addr, 4)
	d.pool = openPool(t, d.URL())
	awaitCalls(t, d.crowd, 30)
	return d
}

func awaitCalls(t *testing.T, crowd *crowd, calls int64) {
	t.Helper()
	until := crowd.whole.Load() + calls
	poll(t, "calls to come back", func() bool { return crowd.whole.Load() >= until })
}

// settle pauses the load, and waits until the ledger has everything, a checkpoint
// covers it and the spool has what the command line wrote; it returns the entries.
func (d *drill) settle(t *testing.T) []leaf {
	t.Helper()
	d.crowd.end()
	d.p.poll("the spool to be shipped", func() bool { return len(readLedger(t, d.pool)) == len(d.provider.Calls()) })
	var size int64
	if err := d.pool.QueryRow(t.Context(), `SELECT size FROM ledger.head`).Scan(&size); err != nil {
		t.Fatal(err)
	}
	awaitQuery(t, d.pool, "a checkpoint of all", sealedSize, size)
	awaitMirrored(t, d.data, size)
	return readLeaves(t, d.pool, size)
}

// awaitMirrored waits until the spool's memory says that it has all entries below
// an index that came from no spool.
func awaitMirrored(t *testing.T, data string, size int64) {
	t.Helper()
	poll(t, "entries to be mirrored", func() bool {
		b, err := os.ReadFile(filepath.Join(data, "spool", "head"))
		if err != nil || len(b) != 128 {
			return false
		}
		mirrored := int64(0)
		for i := range 8 {
			mirrored |= int64(b[96+i]) << (8 * i)
		}
		return mirrored >= size
	})
}

// behind waits until the gateway knows, and checks what it does then: calls go on.
func (d *drill) behind(t *testing.T) {
	t.Helper()
	d.p.await(ledgerBehind)
	resp, err := client.Get(d.p.url("/readyz"))
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 4096)
	n, _ := resp.Body.Read(body) // one short answer
	_ = resp.Body.Close()        // it has been read
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body[:n]), "ledger behind") {
		t.Errorf("/readyz: %d %s", resp.StatusCode, body[:n])
	}
	d.crowd = gather(t, "http://"+d.p.addr, 4)
	awaitCalls(t, d.crowd, 20)
	d.crowd.end()
	if n := d.crowd.failed.Load(); n != 0 {
		t.Errorf("%d calls failed because the ledger is behind: %+v", n, failures(d.crowd.seen()))
	}
}

// recovered runs recover, which must succeed, and holds everything against the
// simulator's books and the entries that were there.
func (d *drill) recovered(t *testing.T, before []leaf) {
	t.Helper()
	out := manti(t, d.env, "recover")
	for _, want := range []string{"are back at their old places", "It agrees with the signed checkpoint of " + fmt.Sprint(len(before)), "The ledger takes events again."} {
		if !strings.Contains(out, want) {
			t.Errorf("recover doesn't say %q:\n%s", want, out)
		}
	}
	if diff := cmp.Diff(before, readLeaves(t, d.pool, int64(len(before)))); diff != "" {
		t.Errorf("entries that aren't as they were (-lost +recovered):\n%s", diff)
	}
	d.p.poll("the spool to be shipped", func() bool { return len(readLedger(t, d.pool)) == len(d.provider.Calls()) })
	ledger := readLedger(t, d.pool)
	checkLedger(t, d.pool)
	checkBooks(t, d.provider.Calls(), ledger)
	checkSeen(t, d.crowd.seen(), ledger)
	checkBalances(t, d.pool)
	awaitQuery(t, d.pool, "the sealer to go on", `SELECT EXISTS (SELECT FROM ledger.checkpoints WHERE size > $1)`, len(before))
	d.p.stop()
}

// The drill of docs/restore.md: a backup, load, a loss, the backup restored, and
// nothing is lost: calls, commands, tree, balances.
func TestRestoreDrill(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		t.Skip("processes find no races here that other tests don't")
	}
	d := newDrill(t)
	d.backUp(t, "backup")
	drillLoad(t, d.crowd, 60)
	key := strings.TrimSpace(manti(t, d.env, "key", "create", "--name", "made after the backup"))
	before := d.settle(t)
	d.lose(t, "backup")
	d.behind(t)

	// Without the spool, what is missing is named and nothing happens.
	empty := filepath.Join(folder(t), "spool")
	other := serve(t, filepath.Dir(empty), d.env.with("MANTI_DATA", filepath.Dir(empty)))
	other.poll("the other's log to say that the ledger is frozen", func() bool { return strings.Contains(other.log.String(), "ledger behind") })
	other.stop()
	r := command(t, launch{args: []string{"recover", "--spool", empty}, env: d.env})
	missing := regexp.MustCompile(`Nobody holds the entries \d+ to ` + fmt.Sprint(len(before)-1) + `; the checkpoint covers them`)
	if r.status != 1 || !missing.MatchString(r.out) || !strings.Contains(r.err, "It stays frozen") {
		t.Errorf("recover without the spool: %d\n%s%s", r.status, r.out, r.err)
	}
	if out := manti(t, d.env, "recover", "--dry-run"); !strings.Contains(out, "The spools hold the entries") || !strings.Contains(out, "Nothing was changed.") {
		t.Errorf("recover --dry-run:\n%s", out)
	}
	d.refused(t, empty)
	if s := call(t.Context(), "http://"+d.p.addr, key, ask{"/v1/messages", quickModel, false}, "with a key that the ledger has lost"); !s.whole {
		t.Errorf("a call with the key that was made after the backup: %+v", s)
	}
	d.recovered(t, before)
}

// refused runs what must end with an error, and leave the ledger as it is: frozen.
func (d *drill) refused(t *testing.T, empty string) {
	t.Helper()
	checkpoints, none := filepath.Join(d.data, "checkpoints"), folder(t)
	forged := filepath.Join(none, "forged")
	text, err := os.ReadFile(filepath.Join(checkpoints, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitN(string(text), "\n", 3)
	if err := os.WriteFile(forged, []byte(lines[0]+"\n1\n"+lines[2]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		env  environment
		args []string
		want string
	}{
		{"a dry run without the spool", d.env, []string{"recover", "--dry-run", "--spool", empty}, "Nothing was changed."},
		{"no such checkpoint", d.env, []string{"recover", "--against", filepath.Join(none, "nope")}, "no such file"},
		{"a directory without one", d.env, []string{"recover", "--against", none}, "there is no checkpoint in"},
		{"a forged one", d.env, []string{"recover", "--against", forged}, "no key at hand has signed it"},
		{"one that isn't signed by the key at hand", d.env.with("MANTI_SEAL_KEY", strings.TrimSpace(manti(t, nil, "seal", "keygen"))), []string{"recover"}, "no key at hand has signed it"},
	} {
		r := command(t, launch{args: test.args, env: test.env})
		if r.status != 1 || !strings.Contains(r.err, test.want) || strings.Contains(r.err, "frozen") {
			t.Errorf("%s: %d\n%s%s", test.name, r.status, r.out, r.err)
		}
	}
	unkeyed := command(t, launch{args: []string{"recover", "--dry-run"}, env: d.env.with("MANTI_SEAL_KEY", "")})
	if unkeyed.status != 0 || !strings.Contains(unkeyed.out, "isn't verified: no key is at hand") {
		t.Errorf("without a key: %d\n%s%s", unkeyed.status, unkeyed.out, unkeyed.err)
	}
	frozen := false
	if err := d.pool.QueryRow(t.Context(), `SELECT frozen FROM ledger.head`).Scan(&frozen); err != nil || !frozen {
		t.Errorf("frozen: %t, %v", frozen, err)
	}
}

// A failover to a standby that lagged is a loss like any other.
func TestFailoverToALaggingStandby(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		t.Skip("processes find no races here that other tests don't")
	}
	d := newDrill(t)
	d.backUp(t, "standby", "-R")
	d.follow(t, "standby") // for a while
	awaitCalls(t, d.crowd, 40)
	before := d.settle(t)
	d.lose(t, "standby")
	promoted := false
	if err := d.pool.QueryRow(t.Context(), `SELECT pg_promote()`).Scan(&promoted); err != nil || !promoted {
		t.Fatalf("promote: %t, %v", promoted, err)
	}
	d.behind(t)
	d.recovered(t, before)
}

// follow runs the standby until it has replayed what the primary has now, and
// then cuts it off.
func (d *drill) follow(t *testing.T, name string) {
	t.Helper()
	socket := filepath.Join(d.dir, "s")
	if err := os.Mkdir(socket, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(socket, int(d.uid), int(d.gid)); err != nil {
		t.Fatal(err)
	}
	cmd := d.as(context.WithoutCancel(t.Context()), "postgres", "-D", filepath.Join(d.dir, name), "-c", "unix_socket_directories="+socket, "-c", "listen_addresses=",
		"-c", "max_connections=500", "-c", "max_wal_senders=4", "-c", "max_locks_per_transaction=128", "-c", "hot_standby=on", "-c", "wal_level=replica")
	log := newTape()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // at once
		_ = cmd.Wait()                          // its status is that of the signal
	}()
	at, err := d.URL().WithDatabase("postgres")
	if err != nil {
		t.Fatal(err)
	}
	standby := openPool(t, db.URL(strings.ReplaceAll(at.Reveal(), url.QueryEscape(d.dir), url.QueryEscape(socket))))
	defer standby.Close()
	var lsn string
	if err := d.pool.QueryRow(t.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&lsn); err != nil {
		t.Fatal(err)
	}
	poll(t, "the standby to follow: "+tail(log.String(), 2000), func() bool {
		there := false
		return standby.QueryRow(t.Context(), `SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn`, lsn).Scan(&there) == nil && there
	})
}
