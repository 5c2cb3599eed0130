package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db/local"
	"manti/proxy/dialect"
)

// allFlags are the flags of loadgen all.
type allFlags struct {
	manti, database, data, only string
	rounds, procs, streams      int
	postgresCore                int
	duration, warmup            time.Duration
	pin, json, verbose          bool
}

func (f *allFlags) define(flags *flag.FlagSet) {
	flags.StringVar(&f.manti, "manti", "manti", "`path` of the gateway's binary")
	flags.StringVar(&f.database, "database", "", "postgres `URL` for the gateway; empty lets it run its private one")
	flags.StringVar(&f.data, "data", "", "the gateway's data `directory`; empty makes one and removes it in the end")
	flags.StringVar(&f.only, "only", "", "comma-separated `names` of the table's lines to run, by how they begin; empty runs all")
	flags.IntVar(&f.rounds, "rounds", 3, "`number` of measurements of each, in turn, of which the median counts")
	flags.DurationVar(&f.warmup, "warmup", 2*time.Second, "`time` before figures are taken")
	flags.DurationVar(&f.duration, "duration", 5*time.Second, "`time` of which figures are taken")
	flags.IntVar(&f.streams, "streams", 2000, "`number` of slow streams of which memory is taken")
	flags.BoolVar(&f.pin, "pin", true, "put gateway and baseline on core 0, load and simulator on core 1")
	flags.IntVar(&f.postgresCore, "postgres-core", gatewayCore, "`core` of the gateway's private Postgres, with -pin: 0 is the gateway's, 1 that of load and simulator, -1 either")
	flags.IntVar(&f.procs, "gomaxprocs", 2, "GOMAXPROCS of gateway and baseline; 0 leaves it alone")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.BoolVar(&f.verbose, "v", false, "print all figures of each measurement, not only the table")
}

// errMissed says that a figure is over its target.
var errMissed = errors.New("not every target was met")

// allCommand runs the table of workloads.
func allCommand(ctx context.Context, args []string, io streams) error {
	var f allFlags
	flags := flag.NewFlagSet("loadgen all", flag.ContinueOnError)
	f.define(flags)
	if err := parse(flags, args, io); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "loadgen-*")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left there is in nobody's way
	// The gateway's private Postgres may run under another account.
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if f.data == "" {
		f.data = filepath.Join(dir, "data")
	}
	stage, err := f.set(ctx, dir)
	if err != nil {
		return err
	}
	defer stage.stop()
	missed, err := stage.table(ctx, io)
	if err != nil {
		return err
	}
	fmt.Fprintln(io.out)
	if err := stage.bench.compareBooks(ctx, stage.books, io); err != nil {
		return err
	}
	if missed {
		return errMissed
	}
	return nil
}

// stage is all that the table is played on.
type stage struct {
	flags    *allFlags
	bench    *bench
	books    *books
	children []*child // in the order in which they were started
}

// set starts simulator, gateway and baseline.
func (f *allFlags) set(ctx context.Context, dir string) (_ *stage, err error) {
	s := &stage{flags: f}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	gateway, load := anyCore, anyCore
	if f.pin {
		gateway, load = gatewayCore, loadCore
	}
	provider, err := startSim(ctx, dir, load)
	if err != nil {
		return nil, err
	}
	s.children = append(s.children, provider)
	simURL := "http://" + provider.addr
	key, cmd, err := f.gateway(simURL)
	if err != nil {
		return nil, err
	}
	manti, err := startChild(ctx, dir, "gateway", "serving", gateway, cmd)
	if err != nil {
		return nil, err
	}
	s.children = append(s.children, manti)
	if err := waitForKey(ctx, manti, key); err != nil {
		return nil, err
	}
	proxy, err := startProxy(ctx, dir, gateway, f.procs, simURL)
	if err != nil {
		return nil, err
	}
	s.children = append(s.children, proxy)
	postgres, err := s.openLedger(ctx)
	if err != nil {
		return nil, err
	}
	if f.pin && f.database == "" {
		if err := pinTree(postgres.pid, f.postgresCore); err != nil {
			return nil, err
		}
	}
	s.bench = &bench{
		gateway: target{"gateway", manti.addr, watched{name: "gateway", pid: manti.pid}}, key: key, api: dialect.OpenAI,
		baseline: &target{"baseline", proxy.addr, watched{name: "baseline", pid: proxy.pid}},
		beside:   []watched{postgres}, simURL: simURL, simProc: watched{name: "simulator", pid: provider.pid},
		settle: 15 * time.Second, rounds: max(f.rounds, 1),
	}
	return s, pinSelf(load)
}

// gateway is the command that starts manti before the simulator, and a key for
// it.
func (f *allFlags) gateway(simURL string) (key string, cmd *exec.Cmd, err error) {
	key, secret := "loadgen-"+randomHex(16), randomHex(32)
	path, err := exec.LookPath(f.manti)
	if err != nil {
		return "", nil, fmt.Errorf("find the gateway: %w", err)
	}
	cmd = exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--data", f.data)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MANTI_") && !strings.HasPrefix(kv, "DATABASE_URL=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(withProcs(cmd.Env, f.procs), "MANTI_BOOTSTRAP_KEY="+key, "NO_PROXY=127.0.0.1",
		"MANTI_PROVIDERS_OPENAI_API_KEY=simulated", "MANTI_PROVIDERS_OPENAI_BASE_URL="+simURL+"/v1",
		"MANTI_PROVIDERS_ANTHROPIC_API_KEY=simulated", "MANTI_PROVIDERS_ANTHROPIC_BASE_URL="+simURL)
	if f.database != "" {
		cmd.Env = append(cmd.Env, "DATABASE_URL="+f.database, "MANTI_SECRET="+secret)
	}
	return key, cmd, nil
}

// waitForKey waits until the gateway knows the key: it serves before it has
// read any.
func waitForKey(ctx context.Context, gateway *child, key string) error {
	ctx, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway.addr+"/v1/models", nil)
		if err != nil {
			return fmt.Errorf("ask the gateway for its models: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		status := 0
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close() // only the status matters
			status = resp.StatusCode
		}
		if status == http.StatusOK {
			return nil
		}
		if err := gateway.alive(); err != nil {
			return err
		}
		if !sleepUntil(ctx, time.Now().Add(drainPoll)) {
			return fmt.Errorf("the gateway doesn't take its key: status %d, %w; it said:\n%s", status, errors.Join(err, ctx.Err()), gateway.said())
		}
	}
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// openLedger connects to the gateway's ledger and finds the server's process.
func (s *stage) openLedger(ctx context.Context) (postgres watched, err error) {
	target := s.flags.database
	if target == "" {
		found, running, err := local.Find(s.flags.data)
		if err != nil || !running {
			return watched{}, fmt.Errorf("find the gateway's private Postgres (running: %v): %w", running, err)
		}
		target = found.Reveal()
	}
	// The gateway serves before its ledger is set up.
	deadline := time.Now().Add(beginTimeout)
	for s.books, err = openBooks(ctx, target); err != nil; s.books, err = openBooks(ctx, target) {
		if time.Now().After(deadline) || !sleepUntil(ctx, time.Now().Add(drainPoll)) {
			return watched{}, err
		}
	}
	pid, err := serverProcess(ctx, s.books.conn)
	return watched{name: "postgres", pid: pid, tree: true}, err
}

// serverProcess is the pid of the server behind a connection: the parent of
// the process that answers. The server must be on this machine.
func serverProcess(ctx context.Context, conn *pgx.Conn) (int, error) {
	var backend int
	if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		return 0, fmt.Errorf("find Postgres' process: %w", err)
	}
	s, err := readStat(backend)
	if err != nil {
		return 0, fmt.Errorf("find Postgres' process: %w", err)
	}
	return s.parent, nil
}

// stop ends everything, the last first.
func (s *stage) stop() {
	if s.books != nil {
		_ = s.books.conn.Close(context.Background()) // it was for reading
	}
	for _, c := range slices.Backward(s.children) {
		c.stop()
	}
}
