package wire_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"manti/proxy/host/wire"
)

// TestNoLeak makes calls that end in every way and then counts goroutines and file
// descriptors. It doesn't run beside other tests.
func TestNoLeak(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			http.Error(w, "no", http.StatusRequestEntityTooLarge)
		case "/hang":
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server watch the connection
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "short")
		default:
			_, _ = io.Copy(w, r.Body)
		}
	}))
	goroutines, files := runtime.NumGoroutine(), openFiles(t)

	c, err := wire.New(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	o := newOrigin(t, c, srv.URL)
	for i := range 50 {
		for _, path := range []string{"/", "/early", "/hang", "/cut", "/unread", "/canceled"} {
			ctx, cancel := context.WithCancel(t.Context())
			if path == "/hang" {
				time.AfterFunc(time.Millisecond, cancel)
			}
			r := post(strings.Repeat("x", 1<<(i%21)))
			r.Path = path
			resp, err := o.Do(ctx, r)
			if err == nil {
				switch path {
				case "/unread":
				case "/canceled":
					cancel()
					fallthrough
				default:
					_, _ = io.Copy(io.Discard, onlyReader{resp.Body})
				}
				resp.Body.Close()
			}
			cancel()
		}
	}
	if s := statsOf(c); s.Open != int64(s.Idle) {
		t.Errorf("%d open, %d idle", s.Open, s.Idle)
	}
	c.Close()
	srv.Close()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > goroutines-1 || openFiles(t) > files-1 { // without the server's own
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d files; before: %d, %d, the server's among them\n%s",
				runtime.NumGoroutine(), openFiles(t), goroutines, files, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc/self/fd here")
	}
	return len(entries)
}
