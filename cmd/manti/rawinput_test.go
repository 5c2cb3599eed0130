package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"manti/db/dbtest"
	"manti/domain"
)

// dialogue is a connection on which a test speaks HTTP by hand.
type dialogue struct {
	t testing.TB
	net.Conn
	read *bufio.Reader
}

func dial(t testing.TB, addr string) *dialogue {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the server may have closed it
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &dialogue{t, c, bufio.NewReader(c)}
}

// say writes. The server may have said enough already and closed: that shows in
// what it answered.
func (d *dialogue) say(s string) { _, _ = io.WriteString(d.Conn, s) }

// answer reads one answer whole.
func (d *dialogue) answer() (status int, header http.Header, body string) {
	d.t.Helper()
	resp, err := http.ReadResponse(d.read, nil)
	if err != nil {
		d.t.Fatalf("no answer: %v", err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatalf("half an answer: %v", err)
	}
	_ = resp.Body.Close() // it has been read
	return resp.StatusCode, resp.Header, string(b)
}

// closed waits for the server to close the connection.
func (d *dialogue) closed() {
	d.t.Helper()
	if _, err := d.read.ReadByte(); err == nil {
		d.t.Error("the connection goes on")
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		d.t.Errorf("the connection is still open after %v", patience)
	}
}

// post is the head of a call.
func post(path string, fields ...string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: manti\r\nAuthorization: Bearer " + testKey + "\r\n" + strings.Join(append(fields, "\r\n"), "\r\n")
}

// The listener's timeouts are for those who send nothing: a stream may take as
// long as it likes, on a connection that was used before too.
func TestNoTimeoutCutsAStream(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	p := serve(t, folder(t), provider.env().onDatabase(database.URL())).ready()
	d := dial(t, p.addr)
	for _, model := range []string{quickModel, longModel} {
		body := string(ask{quick.path, model, true}.body("take your time"))
		d.say(post(quick.path, fmt.Sprintf("Content-Length: %d", len(body))) + body)
		if status, _, got := d.answer(); status != 200 || !hasEnd(quick.path, got) {
			t.Errorf("%s: got %d %s", model, status, tail(got, 300))
		}
	}
	p.stop()
	for id, e := range readLedger(t, database.Pool(t, "")) {
		if e.Outcome != domain.Completed {
			t.Errorf("call %s is %s", id, e.Outcome)
		}
	}
}

// Whatever arrives on the wire is answered as HTTP and the dialects say, or the
// connection is closed; only calls that were admitted are in the ledger.
func TestRawInput(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL()).with("MANTI_MAX_BODY_BYTES", "100000")
	p := serve(t, folder(t), env).ready()
	body := string(ask{quick.path, quickModel, false}.body("hello"))
	whole := post(quick.path, fmt.Sprintf("Content-Length: %d", len(body))) + body
	large := strings.Repeat("x", 200_000)

	// Calls that are refused; want is in the body, nothing comes after it.
	refused := []struct {
		name, say string
		status    int
		want      string
	}{
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "400"},
		{"a broken field", "POST / HTTP/1.1\r\nHost: manti\r\nno colon\r\n\r\n", 400, "400"},
		{"two lengths", post(quick.path, "Content-Length: 5", "Content-Length: 6") + "hello", 400, "400"},
		{"no such length", post(quick.path, "Content-Length: -1"), 400, "400"},
		{"no such encoding", post(quick.path, "Transfer-Encoding: sideways") + body, 501, ""},
		{"a header over our limit", post(quick.path, "X-Large: "+large[:70_000], "Content-Length: 0"), 431, `"code":"header_too_large"`},
		{"the same in the other dialect", post("/v1/messages", "X-Large: "+large[:70_000], "Content-Length: 0"), 431, `"type":"error"`},
		{"a header over the server's limit", post(quick.path, "X-Large: "+strings.Repeat("x", 1<<21)), 431, ""},
		{"a body over the limit", post(quick.path, "Content-Length: 100001"), 413, "larger than 100000 bytes"},
		{"the same after Expect", post(quick.path, "Content-Length: 100001", "Expect: 100-continue"), 413, "larger than 100000 bytes"},
		{"the same in chunks", post("/v1/messages", "Transfer-Encoding: chunked") + "30d40\r\n" + large + "\r\n0\r\n\r\n", 413, `"type":"error"`},
		{"broken chunks", post(quick.path, "Transfer-Encoding: chunked") + "zz\r\nhello\r\n", 400, `"error"`},
	}
	// The calls are over before the books are looked at.
	t.Run("input", func(t *testing.T) {
		for _, test := range refused {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				d := dial(t, p.addr)
				go d.say(test.say) // more than the server reads, perhaps
				status, header, got := d.answer()
				if status != test.status || !strings.Contains(strings.ReplaceAll(got, `": `, `":`), test.want) {
					t.Errorf("got %d %s, want %d with %s", status, got, test.status, test.want)
				}
				if strings.HasPrefix(got, "{") != (header.Get("Manti-Request-Id") != "") {
					t.Errorf("the answer %s has the id %q", got, header.Get("Manti-Request-Id"))
				}
				d.closed()
			})
		}
		t.Run("a body that ends early", func(t *testing.T) {
			t.Parallel()
			d := dial(t, p.addr)
			d.say(post(quick.path, fmt.Sprintf("Content-Length: %d", len(body)+10)) + body)
			if err := d.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if status, _, got := d.answer(); status != 400 || !strings.Contains(got, "shorter than its Content-Length") {
				t.Errorf("got %d %s", status, got)
			}
		})
		t.Run("a header that never ends", func(t *testing.T) {
			t.Parallel()
			d := dial(t, p.addr)
			d.say("POST /v1/messages HTTP/1.1\r\nHost: manti\r\nX-Slow: ")
			d.closed()
		})
		t.Run("a body that nobody waits for", func(t *testing.T) {
			t.Parallel()
			d := dial(t, p.addr)
			d.say("POST /v1/messages HTTP/1.1\r\nHost: manti\r\nx-api-key: unknown\r\nContent-Length: 100\r\n\r\n")
			if status, _, got := d.answer(); status != 401 {
				t.Errorf("got %d %s", status, got)
			}
			d.closed()
		})
		t.Run("a body that never ends", func(t *testing.T) {
			t.Parallel()
			if !long() {
				t.Skip("it takes 30 s: with MANTI_TEST_LONG=1")
			}
			d := dial(t, p.addr)
			d.say(post(quick.path, "Content-Length: 100") + `{"model":`)
			if status, header, got := d.answer(); status != 408 || header.Get("Manti-Request-Id") == "" || !strings.Contains(got, "too long to arrive") {
				t.Errorf("got %d %s", status, got)
			}
			d.closed()
		})
		t.Run("HTTP/1.0", func(t *testing.T) {
			t.Parallel()
			for _, stream := range []bool{false, true} {
				d := dial(t, p.addr)
				body := string(ask{quick.path, quickModel, stream}.body("hello"))
				d.say(fmt.Sprintf("POST %s HTTP/1.0\r\nx-api-key: %s\r\nContent-Length: %d\r\n\r\n%s", quick.path, testKey, len(body), body))
				status, header, got := d.answer()
				if status != 200 || stream != hasEnd(quick.path, got) || header.Get("Transfer-Encoding") != "" {
					t.Errorf("stream %t: got %d %v %s", stream, status, header, got)
				}
				d.closed()
			}
		})
		t.Run("several calls at once", func(t *testing.T) {
			t.Parallel()
			d := dial(t, p.addr)
			d.say(whole + whole + "GET /healthz HTTP/1.1\r\nHost: manti\r\n\r\n" + whole)
			for i := range 4 {
				want := `"chat.completion"`
				if i == 2 {
					want = "ok\n"
				}
				if status, _, got := d.answer(); status != 200 || !strings.Contains(got, want) {
					t.Errorf("answer %d: %d %s", i, status, got)
				}
			}
		})
		t.Run("chunks", func(t *testing.T) {
			t.Parallel()
			d := dial(t, p.addr)
			d.say(post(quick.path, "Transfer-Encoding: chunked"))
			for _, b := range []byte(body) {
				d.say("1\r\n" + string(b) + "\r\n")
			}
			d.say("0\r\n\r\n" + whole)
			for range 2 {
				if status, _, got := d.answer(); status != 200 {
					t.Errorf("got %d %s", status, got)
				}
			}
		})
		t.Run("bytes that are no text", func(t *testing.T) {
			t.Parallel()
			d := dial(t, p.addr)
			odd := `{"model":"` + quickModel + `","user":"nul \u0000 and \ud800 half","messages":[{"role":"user","content":"hi"}]}`
			d.say(post(quick.path, "Session_id: \xff\xfe\x80", "User-Agent: caf\xe9", "Traceparent: 00-\xff-1-1", fmt.Sprintf("Content-Length: %d", len(odd))) + odd)
			if status, _, got := d.answer(); status != 200 {
				t.Errorf("got %d %s", status, got)
			}
		})
	})
	p.stop()
	pool := database.Pool(t, "")
	checkLedger(t, pool)
	ledger := readLedger(t, pool)
	checkBooks(t, provider.Calls(), ledger)
	if len(ledger) != 8 { // HTTP/1.0 twice, three at once, two in chunks, one odd
		t.Errorf("%d calls are in the ledger, want 8", len(ledger))
	}
}
