package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"manti/db/dbtest"
)

// nobodyUID is an ordinary user's on every system, unnamedUID one that no
// passwd file knows.
const (
	nobodyUID  = 65534
	unnamedUID = 54321
)

// quick is a call that the simulator in the process answers.
var quick = ask{"/v1/chat/completions", "sim/fast", false}

// The first command ends in a working call: it prints a key and commands that
// work when pasted, once. Ctrl-C stops Postgres last; a second start has what
// the first had; a server left over from a kill -9 is adopted.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	users := map[string]int{"as this user": 0}
	if os.Getuid() == 0 {
		users = map[string]int{"as root": 0, "as an ordinary user": nobodyUID, "as a user without a name": unnamedUID}
	}
	for name, uid := range users {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFirstStart(t, uid)
		})
	}
}

func testFirstStart(t *testing.T, uid int) {
	home := folder(t)
	if err := os.Chown(home, max(uid, os.Getuid()), -1); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(home, "data")
	l := launch{args: []string{"--listen", "127.0.0.1:0", "--data", data}, dir: home, uid: uid}
	if _, err := binary(); err != nil { // whose build isn't the start
		t.Fatal(err)
	}
	begun := time.Now()
	p := serveAs(t, l)
	key := welcome(t, p)
	if s := call(t.Context(), "http://"+p.addr, key, quick, "hello"); !s.whole {
		t.Fatalf("first call: %+v", s)
	}
	t.Logf("the first call was done %v after the start", time.Since(begun).Round(time.Millisecond))
	pasted := pasteCurl(t, p)
	if strings.Contains(p.log.String(), key) {
		t.Error("the key is in the log")
	}
	postmaster := postmasterOf(t, data)
	if owner := ownerOf(t, postmaster); owner == 0 || uid != 0 && owner != uid {
		t.Errorf("Postgres runs as user %d", owner)
	}
	p.stop()
	awaitEnd(t, postmaster)

	p = serveAs(t, l).ready()
	calls := 1 + pasted
	if s := call(t.Context(), "http://"+p.addr, key, quick, "again"); !s.whole {
		t.Errorf("the key doesn't work after the second start: %+v", s)
	}
	calls++
	if out := p.stdout.String(); out != "" {
		t.Errorf("the second start printed %q", out)
	}
	postmaster = postmasterOf(t, data)
	p.kill()
	if syscall.Kill(postmaster, 0) != nil {
		t.Error("Postgres did not outlive a kill -9 of manti")
	}

	p = serveAs(t, l).ready()
	if !strings.Contains(p.log.String(), "adopted the private Postgres") || postmasterOf(t, data) != postmaster {
		t.Error("the Postgres that was left over wasn't adopted")
	}
	if s := call(t.Context(), "http://"+p.addr, key, quick, "and again"); !s.whole {
		t.Errorf("the key doesn't work after a kill: %+v", s)
	}
	calls++
	p.stop()
	awaitEnd(t, postmaster)

	r := command(t, launch{args: []string{"balances", "--json", "--data", data}, dir: home, uid: uid})
	if want := regexp.MustCompile(`"currency":"XTS","calls":` + itoa(calls) + `,`); r.status != 0 || !want.MatchString(r.out) {
		t.Errorf("balances with the server stopped: %d %s %s, want %d calls", r.status, r.out, r.err, calls)
	}
}

// welcome waits for what a first start prints and returns the key.
func welcome(t testing.TB, p *process) string {
	t.Helper()
	m, err := p.stdout.await(regexp.MustCompile(`(?s)shown this once:\n\n  (\S+)\n.*Then see what it cost`))
	if err != nil {
		t.Fatalf("the first start printed %q: %v\n%s", p.stdout.String(), err, tail(p.log.String(), 4000))
	}
	return m[1]
}

// pasteCurl runs the commands that were printed as a person would, and returns
// how many there were.
func pasteCurl(t testing.TB, p *process) int {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("there is no curl here: the commands aren't tried")
		return 0
	}
	commands := regexp.MustCompile(`(?m)^  curl (?:.*\\\n)*.*$`).FindAllString(p.stdout.String(), -1)
	if len(commands) != 2 {
		t.Fatalf("there are %d curl commands, want a plain and a streamed one:\n%s", len(commands), p.stdout.String())
	}
	for i, want := range []string{`"object":"chat.completion"`, "data: [DONE]"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", commands[i]).Output()
		if err != nil || !strings.Contains(strings.ReplaceAll(string(out), " ", ""), strings.ReplaceAll(want, " ", "")) {
			t.Errorf("%s: %v: %s", commands[i], err, out)
		}
	}
	return len(commands)
}

// postmasterOf is the process id of a data directory's Postgres.
func postmasterOf(t testing.TB, data string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "postgres", "cluster", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	return atoi(t, strings.SplitN(string(text), "\n", 2)[0])
}

// ownerOf is the user that a process runs as.
func ownerOf(t testing.TB, pid int) int {
	t.Helper()
	out, err := exec.Command("ps", "-o", "uid=", "-p", itoa(pid)).Output()
	if err != nil {
		t.Fatalf("ps: %v", err)
	}
	return atoi(t, strings.TrimSpace(string(out)))
}

// awaitEnd waits until a process that is no child of ours is gone, or is left
// as a zombie by whoever should reap it.
func awaitEnd(t testing.TB, pid int) {
	t.Helper()
	poll(t, "Postgres to end", func() bool {
		out, err := exec.Command("ps", "-o", "stat=", "-p", itoa(pid)).Output()
		return err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
	})
}

// A second process on the same data is told who has them, and harms nobody.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	t.Run("private Postgres", func(t *testing.T) {
		t.Parallel()
		data := folder(t)
		p := serve(t, data, nil)
		key := welcome(t, p)
		r := command(t, launch{args: []string{"--listen", "127.0.0.1:0", "--data", data}})
		if r.status != 1 || !strings.Contains(r.err, "another manti uses this data directory (pid "+itoa(p.cmd.Process.Pid)+")") {
			t.Errorf("second process: %d %s", r.status, r.err)
		}
		if s := call(t.Context(), "http://"+p.addr, key, quick, "still there?"); !s.whole {
			t.Errorf("the first process after the second one: %+v", s)
		}
	})
	t.Run("spool", func(t *testing.T) {
		t.Parallel()
		database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
		data, env := folder(t), provider.env().onDatabase(database.URL())
		p := serve(t, data, env).ready()
		r := command(t, launch{args: []string{"--listen", "127.0.0.1:0", "--data", data}, env: env})
		if r.status != 1 || !strings.Contains(r.err, "is in use by process "+itoa(p.cmd.Process.Pid)) {
			t.Errorf("second process: %d %s", r.status, r.err)
		}
		if s := call(t.Context(), "http://"+p.addr, testKey, ask{quick.path, quickModel, true}, "still there?"); !s.whole {
			t.Errorf("the first process after the second one: %+v", s)
		}
	})
}

// Several replicas that start at once on an empty database all serve, and make
// what a ledger needs once.
func TestReplicasStartAtOnce(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{Empty: true}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	replicas := make([]*process, 4)
	for i := range replicas {
		replicas[i] = begin(t, launch{args: []string{"--listen", "127.0.0.1:0", "--data", folder(t)}, env: env})
	}
	var group sync.WaitGroup
	for _, p := range replicas {
		p.addr = p.await(servingLine)[1]
		group.Go(func() {
			poll(t, "a replica to be ready", func() bool { return p.status("/readyz") == http.StatusOK })
		})
	}
	group.Wait()
	for i, p := range replicas {
		if s := call(t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", quickModel, i%2 == 0}, "to each"); !s.whole {
			t.Errorf("replica %d: %+v", i, s)
		}
	}
	for _, p := range replicas {
		p.stop()
	}
	pool := database.Pool(t, "")
	checkLedger(t, pool)
	checkBooks(t, provider.Calls(), readLedger(t, pool))
	var orgs, projects, prices, keys int
	err := pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE kind = 'OrgCreated'), count(*) FILTER (WHERE kind = 'ProjectCreated'),
		count(*) FILTER (WHERE kind = 'PricesPublished'), count(*) FILTER (WHERE kind = 'KeyIssued') FROM ledger.events`).Scan(&orgs, &projects, &prices, &keys)
	if err != nil || orgs != 1 || projects != 1 || prices != 1 || keys != 1 {
		t.Errorf("there are %d organisations, %d projects, %d price versions, %d keys, want one of each (%v)", orgs, projects, prices, keys, err)
	}
}

// With DATABASE_URL nothing secret is printed or logged, and the bootstrap key
// works from every start on.
func TestNothingSecretIsPrinted(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	data, env := folder(t), provider.env().onDatabase(database.URL()).with("MANTI_LOG_LEVEL", "debug")
	for range 2 {
		p := serve(t, data, env).ready()
		if s := call(t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", claudeModel, true}, "my prompt is private"); !s.whole {
			t.Fatalf("call with the bootstrap key: %+v", s)
		}
		p.stop()
		said := p.log.String() + p.stdout.String()
		for _, secret := range []string{testSecret, testKey, providerKey, "my prompt is private"} {
			if strings.Contains(said, secret) {
				t.Errorf("%q is in the output", secret)
			}
		}
		if p.stdout.String() != "" {
			t.Errorf("it printed %q", p.stdout.String())
		}
	}
}
