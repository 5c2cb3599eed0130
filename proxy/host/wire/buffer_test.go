package wire_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"manti/proxy/host/wire"
)

// pacer is a recording that says each of its parts with one read, or more if the
// read is too short, and notes for how much it was asked.
type pacer struct {
	recording
	parts []string
	asked []int
}

func (p *pacer) Read(b []byte) (int, error) {
	p.asked = append(p.asked, len(b))
	if len(p.left) == 0 && len(p.parts) > 0 {
		p.left, p.parts = []byte(p.parts[0]), p.parts[1:]
	}
	return p.recording.Read(b)
}

// TestBufferFollowsPace has a body come fast and then slowly: its buffer grows, so
// that a system call brings more, and shrinks again, so that streams stay cheap.
func TestBufferFollowsPace(t *testing.T) {
	t.Parallel()
	conn := &pacer{recording: recording{piece: 1 << 20}, parts: []string{
		"HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("fast", 50<<10), "slow", "slow", "slow",
	}}
	c := newClient(t, wire.Config{Dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }})
	resp, err := newOrigin(t, c, "http://test").Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := readers["Next"](resp.Body)
	if want := strings.Repeat("fast", 50<<10) + strings.Repeat("slow", 3); body != want || err != nil {
		t.Errorf("%d bytes, error %v; want %d", len(body), err, len(want))
	}
	if n := len(conn.asked); n > 14 {
		t.Errorf("%d reads: %v", n, conn.asked)
	}
	if last := conn.asked[len(conn.asked)-1]; last != 4<<10 {
		t.Errorf("a slow body is read into %d bytes, want 4096", last)
	}
}
