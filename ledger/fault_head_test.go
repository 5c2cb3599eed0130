package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

const (
	holderURL  = "LEDGER_TEST_HOLDER_URL"
	holderIdle = "LEDGER_TEST_HOLDER_IDLE" // "none": without the timeout that frees the head
)

// TestHoldHead is not a test, but a process that takes the head in a command
// and does nothing more.
func TestHoldHead(t *testing.T) {
	url := os.Getenv(holderURL)
	if url == "" {
		t.Skip("the child process of another test")
	}
	cfg := db.Config{URL: db.URL(url), Role: db.RoleWriter}
	if os.Getenv(holderIdle) == "none" {
		cfg.IdleInTxTimeout = -1
	}
	pool, err := db.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	_, err = ledger.New(pool).Command(context.Background(), nil, func(context.Context, pgx.Tx, time.Time) ([]domain.Event, error) {
		fmt.Println("holding")
		lines.Scan() // until it is told to go on
		return []domain.Event{{ID: newID[domain.EventID](), Body: &domain.OrgCreated{Org: newID[domain.OrgID]()}}}, nil
	})
	fmt.Println("ended:", err)
}

// holder is another process that holds the head and is stopped.
type holder struct {
	*exec.Cmd
	out *bufio.Reader
	in  *os.File
}

func stopHolder(t *testing.T, url db.URL, idle string) *holder {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHoldHead$")
	cmd.Env = append(os.Environ(), holderURL+"="+url.Reveal(), holderIdle+"="+idle)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = reader
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = reader.Close() // the child has its own
	h := &holder{cmd, bufio.NewReader(out), writer}
	t.Cleanup(func() {
		_ = writer.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, at the latest now
	})
	if line := h.line(t); line != "holding\n" {
		t.Fatalf("the holder says %q", line)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *holder) line(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	return line
}

// wake lets the holder go on, with what it wanted to append.
func (h *holder) wake(t *testing.T) string {
	t.Helper()
	if err := h.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := h.in.Close(); err != nil {
		t.Fatal(err)
	}
	return h.line(t)
}

// appendWithin tries to append until it works, at most for d.
func appendWithin(t *testing.T, l *ledger.Ledger, d time.Duration) (took time.Duration, err error) {
	t.Helper()
	began, events := time.Now(), calls(t, 3)
	for {
		_, err = l.Append(t.Context(), events)
		if took = time.Since(began); err == nil || took > d || !errors.Is(err, ledger.ErrOutage) {
			return took, err
		}
	}
}

// TestStoppedHolderOfTheHead stops a process (SIGSTOP) that holds the head in an
// idle transaction: the server frees the head after two seconds, the others go
// on, and what the process wanted to append is refused when it wakes.
func TestStoppedHolderOfTheHead(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	l := ledger.New(pool)
	mustAppend(t, l, calls(t, 1)...)
	h := stopHolder(t, database.URL(), "")
	took, err := appendWithin(t, l, 20*time.Second)
	if err != nil {
		t.Fatalf("after %v the stopped process still holds the head: %v", took, err)
	}
	if took < db.DefaultIdleInTxTimeout/2 {
		t.Errorf("appended after %v: the head wasn't held", took)
	}
	if line := h.wake(t); !strings.HasPrefix(line, "ended: ") || line == "ended: <nil>\n" {
		t.Errorf("when it woke, the holder said %q", line)
	}
	checkInvariants(t, pool, 0)
	checkNone(t, pool, "events of the holder", `SELECT count(*) FROM ledger.events WHERE kind = 'OrgCreated'`)
}

// TestStoppedHolderWithoutTimeout is the control: without the server's timeout
// the head stays taken until the holder is gone.
func TestStoppedHolderWithoutTimeout(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, db.RoleWriter)
	l := ledger.New(pool)
	h := stopHolder(t, database.URL(), "none")
	if took, err := appendWithin(t, l, db.DefaultIdleInTxTimeout+time.Second); !errors.Is(err, ledger.ErrOutage) {
		t.Fatalf("append while the head is held for ever: %v after %v, want ErrOutage", err, took)
	}
	if line := h.wake(t); line != "ended: <nil>\n" {
		t.Errorf("when it woke, the holder said %q", line)
	}
	mustAppend(t, l, calls(t, 1)...)
	checkInvariants(t, pool, 0)
}
