package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestLentMemoryIsNotShared sends large calls side by side, each with bytes of
// its own, to a provider that answers some before it has read them. What it
// reads, and what callers get, is never another call's.
func TestLentMemoryIsNotShared(t *testing.T) {
	t.Parallel()
	const workers, calls, size = 8, 30, 200_000
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		head := make([]byte, 100)
		if _, err := io.ReadFull(r.Body, head); err != nil {
			t.Error(err)
			return
		}
		mark := head[bytes.IndexByte(head, '<')+1 : bytes.IndexByte(head, '>')]
		if mark[0] == 'e' { // early: the rest is never read
			w.Header().Set("Connection", "close") // so that no other call meets its end
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"message":"no"}}`)
			return
		}
		rest, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if n := strings.Count(string(rest), string(mark)); n < size/len(mark)-20 {
			t.Errorf("%d of the call's own marks among %d bytes", n, len(rest))
		}
		text := strings.Repeat(string(mark), 100_000/len(mark))
		fmt.Fprintf(w, `{"id":"x","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`, text)
	})
	rig := newRig(t, rigConfig{upstream: upstream})
	server := httptest.NewServer(rig.handler)
	defer server.Close()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range calls {
				mark := fmt.Sprintf("%c-%02d-%04d", "feff"[i%4], w, i)
				body := `{"messages":[{"role":"user","content":"<` + mark + `>` + strings.Repeat(mark, size/len(mark)) + `"}],"model":"gpt-4o"}`
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/chat/completions", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+testKey.Reveal())
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || mark[0] == 'f' && strings.Count(string(answer), mark) != 100_000/len(mark) {
					t.Errorf("%s: status %d, %d bytes, %d own marks, error %v", mark, resp.StatusCode, len(answer), strings.Count(string(answer), mark), err)
				}
			}
		})
	}
	wg.Wait()
}
