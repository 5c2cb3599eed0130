package sim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"manti/proxy/sim"
)

// TestLoop talks to the loop in bytes: what requests it takes.
func TestLoop(t *testing.T) {
	t.Parallel()
	const body = `{"model":"fast","messages":[]}`
	whole := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, tt := range []struct {
		name, send string
		want       []int
		closed     bool
	}{
		{"plain", whole, []int{200}, false},
		{"pipelined", whole + whole + whole, []int{200, 200, 200}, false},
		{"query", strings.Replace(whole, "completions", "completions?x=1", 1), []int{200}, false},
		{"close", strings.Replace(whole, "Host: x", "Connection: close", 1), []int{200}, true},
		{"HTTP/1.0", strings.Replace(whole, "HTTP/1.1", "HTTP/1.0", 1), []int{200}, true},
		{"chunked", "POST /chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"5\r\n" + body[:5] + "\r\n19;ext=1\r\n" + body[5:] + "\r\n0\r\nTrailer: x\r\n\r\n", []int{200}, false},
		{"continue", strings.Replace(whole, "Host: x", "Expect: 100-continue", 1), []int{100, 200}, false},
		{"GET", "GET / HTTP/1.1\r\n\r\n", []int{200}, false},
		{"wrong method", "GET /v1/messages HTTP/1.1\r\n\r\n", []int{405}, false},
		{"no HTTP", "hello\r\n", []int{400}, true},
		{"bad length", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", []int{400}, true},
		{"bad chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", []int{400}, true},
		{"large body", "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", []int{413}, true},
		{"long line", "GET /" + strings.Repeat("a", 20_000) + " HTTP/1.1\r\n\r\n", []int{413}, true},
		{"long header", "GET / HTTP/1.1\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 70) + "\r\n", []int{413}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := start(t, sim.Config{}).Dial(t.Context(), "tcp", "sim:80")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() { _, _ = io.WriteString(c, tt.send) }() // ends with the close at the latest
			r := bufio.NewReader(c)
			for i, want := range tt.want {
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
					t.Errorf("answer %d: status %d, want %d, error %v", i, resp.StatusCode, want, err)
				}
			}
			if tt.closed {
				if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
					t.Errorf("then %q, %v; want the end", b, err)
				}
			}
		})
	}
}

// FuzzMembers: whatever is valid JSON and an object can be read, and its
// members are what encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `[]`, `{"a":1}`, `{"a":"\\","b":"\"","c":[{"d":"]}"}]}`, `{"a":1,}`, `{"a" :-1.5e+3 , "b":null}`, `{"a"`, `{"":{}}x`, `{"a":}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got []string
		var values [][]byte
		err := sim.Members(body, func(name, value []byte) {
			got, values = append(got, string(name)), append(values, value)
		})
		var want map[string]json.RawMessage
		if json.Unmarshal(body, &want) != nil || want == nil {
			return // members checks structure only; it mustn't panic
		}
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		last := map[string][]byte{}
		for i, name := range got {
			var plain string
			if json.Unmarshal([]byte(`"`+name+`"`), &plain) != nil {
				t.Fatalf("%q: name %q", body, name)
			}
			last[plain] = values[i]
		}
		for name, value := range want {
			if !bytes.Equal(last[name], value) {
				t.Errorf("%q: %q is %q, want %q", body, name, last[name], value)
			}
		}
	})
}
