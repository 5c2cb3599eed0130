package sim_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"manti/proxy/sim"
)

// BenchmarkCall measures whole calls in memory, client included, on as many
// connections as there are processors. The client is as small as the loop.
func BenchmarkCall(b *testing.B) {
	for _, bm := range []struct{ name, model, path, more string }{
		{"plain", "w1", "/v1/chat/completions", ""},
		{"text", "fast", "/v1/chat/completions", ""},
		{"message", "fast", "/v1/messages", `,"max_tokens":100`},
		{"stream100", "w3", "/v1/chat/completions", `,"stream":true`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			p := start(b, sim.Config{})
			body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]%s}`, bm.model, strings.Repeat("word ", 180), bm.more)
			request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%s", bm.path, len(body), body)
			b.RunParallel(func(pb *testing.PB) {
				conn, err := p.Dial(b.Context(), "tcp", "sim:80")
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				r := bufio.NewReader(conn)
				for pb.Next() {
					if _, err := conn.Write(request); err != nil {
						b.Error(err)
						return
					}
					if err := discard(r); err != nil {
						b.Error(err)
						return
					}
				}
			})
			if got := p.Books(); got.Completed != int64(b.N) && b.N > 0 {
				b.Logf("completed %d of %d", got.Completed, b.N)
			}
		})
	}
}

// discard reads an answer of either framing.
func discard(r *bufio.Reader) error {
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
	}
	if length >= 0 {
		_, err := r.Discard(length)
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, r, n+2); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}
