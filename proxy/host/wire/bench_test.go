package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"manti/proxy/host/wire"
)

// cannedServer answers every request with the same bytes and does little else, so
// that the client's share of the time is large. A request must end in "}".
func cannedServer(b *testing.B, answer string) string {
	reply := []byte(answer)
	return listen(b, func(nc net.Conn) {
		buf := make([]byte, 64<<10)
		n := 0
		for {
			k, err := nc.Read(buf[n:])
			if err != nil {
				return
			}
			n += k
			if bytes.Contains(buf[:n], []byte("\r\n\r\n")) && buf[n-1] == '}' {
				n = 0
				if _, err := nc.Write(reply); err != nil {
					return
				}
			}
		}
	})
}

func kilobyte() string { return `{"text":"` + strings.Repeat("x", 1013) + `"}` }

func plainAnswer() string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n"+
		"X-Request-Id: req_0123456789\r\nContent-Length: %d\r\n\r\n%s", len(kilobyte()), kilobyte())
}

// BenchmarkPlain is a call with 1 KB each way over the loopback, by this client
// and by net/http's Transport.
func BenchmarkPlain(b *testing.B) {
	body := []byte(kilobyte())
	b.Run("wire", func(b *testing.B) {
		c := newClient(b, wire.Config{})
		o := newOrigin(b, c, cannedServer(b, plainAnswer()))
		req := &wire.Request{Method: "POST", Path: "/v1/chat/completions", Fields: []wire.Field{
			{"Authorization", "Bearer sk-0123456789"}, {"Content-Type", "application/json"}, {"Accept-Encoding", "identity"},
		}, Body: [][]byte{body}}
		b.ReportAllocs()
		for b.Loop() {
			resp, err := o.Do(b.Context(), req)
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = resp.Body.Next()
			}
			if err != io.EOF {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		c.Close()
	})
	b.Run("transport", func(b *testing.B) {
		tr := &http.Transport{DisableCompression: true}
		url := cannedServer(b, plainAnswer()) + "/v1/chat/completions"
		buf := make([]byte, 32<<10)
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequestWithContext(b.Context(), "POST", url, bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer sk-0123456789")
			req.Header.Set("Content-Type", "application/json")
			resp, err := tr.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			if err != io.EOF {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
		b.StopTimer()
		tr.CloseIdleConnections()
	})
}

// BenchmarkParallel is BenchmarkPlain with 64 calls in flight.
func BenchmarkParallel(b *testing.B) {
	body := []byte(kilobyte())
	b.Run("wire", func(b *testing.B) {
		c := newClient(b, wire.Config{})
		o := newOrigin(b, c, cannedServer(b, plainAnswer()))
		req := &wire.Request{Method: "POST", Path: "/v1/chat/completions", Body: [][]byte{body}}
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				resp, err := o.Do(b.Context(), req)
				for err == nil {
					_, err = resp.Body.Next()
				}
				if err != io.EOF {
					b.Error(err)
				}
			}
		})
		b.StopTimer()
		c.Close()
	})
	b.Run("transport", func(b *testing.B) {
		tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1024}
		url := cannedServer(b, plainAnswer()) + "/v1/chat/completions"
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			buf := make([]byte, 32<<10)
			for pb.Next() {
				req, _ := http.NewRequestWithContext(b.Context(), "POST", url, bytes.NewReader(body))
				resp, err := tr.RoundTrip(req)
				for err == nil {
					_, err = resp.Body.Read(buf)
				}
				if err != io.EOF {
					b.Error(err)
				}
				resp.Body.Close()
			}
		})
		b.StopTimer()
		tr.CloseIdleConnections()
	})
}

// BenchmarkTLS is BenchmarkPlain over TLS.
func BenchmarkTLS(b *testing.B) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, kilobyte())
	}))
	b.Cleanup(srv.Close)
	body := []byte(kilobyte())
	b.Run("wire", func(b *testing.B) {
		c := newClient(b, wire.Config{TLS: trusting(srv)})
		o := newOrigin(b, c, srv.URL)
		req := &wire.Request{Method: "POST", Path: "/", Body: [][]byte{body}}
		b.ReportAllocs()
		for b.Loop() {
			resp, err := o.Do(b.Context(), req)
			for err == nil {
				_, err = resp.Body.Next()
			}
			if err != io.EOF {
				b.Fatal(err)
			}
		}
	})
	b.Run("transport", func(b *testing.B) {
		tr := &http.Transport{DisableCompression: true, TLSClientConfig: trusting(srv)}
		buf := make([]byte, 32<<10)
		b.ReportAllocs()
		for b.Loop() {
			req, _ := http.NewRequestWithContext(b.Context(), "POST", srv.URL, bytes.NewReader(body))
			resp, err := tr.RoundTrip(req)
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			if err != io.EOF {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
	})
}

// BenchmarkChunks reads a stream whose chunks come one by one: what a chunk costs
// the client above the read itself.
func BenchmarkChunks(b *testing.B) {
	const perAnswer = 100

	chunk := fmt.Sprintf("%x\r\n%s\r\n", 40, "data: {\"delta\":\"twenty bytes of text\"}\n\n")
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" +
		strings.Repeat(chunk, perAnswer) + "0\r\n\r\n"
	b.Run("wire", func(b *testing.B) {
		o := newOrigin(b, newClient(b, wire.Config{}), cannedServer(b, answer))
		req := &wire.Request{Method: "POST", Path: "/", Body: [][]byte{[]byte("{}")}}
		b.ReportAllocs()
		for b.Loop() {
			resp, err := o.Do(b.Context(), req)
			for err == nil {
				_, err = resp.Body.Next()
			}
			if err != io.EOF {
				b.Fatal(err)
			}
		}
	})
	b.Run("transport", func(b *testing.B) {
		tr := &http.Transport{DisableCompression: true}
		url := cannedServer(b, answer)
		buf := make([]byte, 32<<10)
		b.ReportAllocs()
		for b.Loop() {
			req, _ := http.NewRequestWithContext(b.Context(), "POST", url, strings.NewReader("{}"))
			resp, err := tr.RoundTrip(req)
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			if err != io.EOF {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
		b.StopTimer()
		tr.CloseIdleConnections()
	})
}
