package main_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"manti/db/dbtest"
	"manti/domain"
)

// On SIGTERM running calls finish, new ones are refused, the spool is emptied
// and the process ends with 0.
func TestStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	p := serve(t, folder(t), provider.env().onDatabase(database.URL())).ready()
	crowd := gather(t, "http://"+p.addr, 8)
	slow := openStream(t, p, slowModel)
	p.poll("calls", func() bool { return crowd.whole.Load() > 20 && open(provider.Calls()) > 2 })

	p.signal(syscall.SIGTERM)
	p.poll("calls to be refused", func() bool { return refused(p) })
	if body, err := io.ReadAll(slow); err != nil || !hasEnd("/v1/chat/completions", string(body)) {
		t.Errorf("a stream that ran when the server was stopped ended with %v: %s", err, tail(string(body), 300))
	}
	if status := p.wait(); status != 0 {
		t.Errorf("it ended with %d", status)
	}
	crowd.end()
	for _, s := range crowd.seen() {
		if !s.whole && s.status != http.StatusServiceUnavailable {
			t.Errorf("a call that ran when the server was stopped: %+v", s)
		}
	}
	pool := database.Pool(t, "")
	ledger := readLedger(t, pool)
	checkLedger(t, pool)
	checkBooks(t, provider.Calls(), ledger)
	checkSeen(t, crowd.seen(), ledger)
	for id, e := range ledger {
		if e.Outcome != domain.Completed {
			t.Errorf("call %s is %s", id, e.Outcome)
		}
	}
}

// refused reports whether the server takes no new calls.
func refused(p *process) bool {
	s := call(p.t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", quickModel, false}, "is anybody there?")
	return s.err != nil || s.status == http.StatusServiceUnavailable
}

// A call that outlasts the drain is cut off with an error, never with a good
// end, and its event says what is known.
func TestCutOffAfterDrainTimeout(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL()).with("MANTI_DRAIN_TIMEOUT", "300ms")
	p := serve(t, folder(t), env).ready()
	stream := openStream(t, p, endlessName)
	plain := make(chan seen, 1)
	go func() {
		plain <- call(t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", endlessName, false}, "a plain one")
	}()
	p.poll("both calls to be under way", func() bool { return open(provider.Calls()) == 2 })
	p.stop()

	body, err := io.ReadAll(stream)
	if err != nil || hasEnd("/v1/chat/completions", string(body)) || !strings.Contains(string(body), `"error"`) {
		t.Errorf("the stream that was cut off ended with %v: %s", err, tail(string(body), 300))
	}
	if s := <-plain; s.status != http.StatusServiceUnavailable || !strings.Contains(s.body, "shutting down") {
		t.Errorf("the plain call that was cut off: %+v", s)
	}
	ledger := readLedger(t, database.Pool(t, ""))
	if len(ledger) != 2 {
		t.Errorf("%d calls are in the ledger, want 2", len(ledger))
	}
	checkBooks(t, provider.Calls(), ledger)
	for id, e := range ledger {
		if e.Outcome == domain.Completed || e.Outcome == domain.Unknown || e.Error != string(domain.CodeUnavailable) {
			t.Errorf("call %s is %s with error %q", id, e.Outcome, e.Error)
		}
	}
}

// openStream begins a streamed call and returns once its first event is there.
func openStream(t testing.TB, p *process, model string) io.Reader {
	t.Helper()
	a := ask{"/v1/chat/completions", model, true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url(a.path), bytes.NewReader(a.body("a slow one")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", testKey)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() }) // the test has read what it wants
	r := bufio.NewReader(resp.Body)
	first, err := r.ReadString('\n')
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("open stream: %d, %v, %s", resp.StatusCode, err, first)
	}
	return r
}
