package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"manti/proxy/host/wire"
)

// recording is a connection that says fixed bytes in pieces and then ends.
type recording struct {
	left  []byte
	piece int
	said  int
}

func (r *recording) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.left[:min(r.piece, len(r.left))])
	r.left = r.left[n:]
	r.said += n
	return n, nil
}

func (r *recording) Write(p []byte) (int, error)      { return len(p), nil }
func (r *recording) Close() error                     { return nil }
func (r *recording) LocalAddr() net.Addr              { return nil }
func (r *recording) RemoteAddr() net.Addr             { return nil }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

// reference is what net/http makes of an answer.
type reference struct {
	status   int
	body     []byte
	consumed int
}

func refer(data []byte, method string) (*reference, error) {
	in := bytes.NewReader(data)
	br := bufio.NewReader(in)
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		return &reference{resp.StatusCode, body, len(data) - in.Len() - br.Buffered()}, nil
	}
}

// FuzzAnswer has a server say anything, in pieces of any size: the client doesn't
// panic, makes the same of it however it is cut and read, agrees with net/http
// wherever both accept it, and keeps the connection only if exactly the answer
// was read from it.
func FuzzAnswer(f *testing.F) {
	for _, a := range answers {
		if len(a.bytes) < 1<<10 {
			f.Add([]byte(a.bytes), uint16(len(a.bytes)), a.method == "HEAD")
			f.Add([]byte(a.bytes), uint16(3), false)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint16, isHead bool) {
		method := "POST"
		if isHead {
			method = "HEAD"
		}
		want, wantErr := refer(data, method)
		var first outcome
		for i, size := range []int{1 << 20, int(piece) + 1} {
			for how, read := range readers {
				got := replay(t, data, size, method, read)
				if i == 0 && first.kind == 0 && first.status == 0 {
					first = got
				}
				if got.status != first.status || got.kind != first.kind || got.body != first.body {
					t.Fatalf("%s, pieces of %d: %+v; before: %+v", how, size, got, first)
				}
				if got.kind != 0 || wantErr != nil {
					continue
				}
				if got.status != want.status || got.body != string(want.body) {
					t.Fatalf("%+v; net/http: %d %q", got, want.status, want.body)
				}
				if got.pooled && got.said != want.consumed {
					t.Fatalf("pooled with %d bytes read, of which %d are the answer", got.said, want.consumed)
				}
			}
		}
	})
}

type outcome struct {
	status int
	body   string
	kind   wire.Kind
	pooled bool
	said   int // bytes read from the connection
}

func replay(t *testing.T, data []byte, piece int, method string, read func(wire.Body) (string, error)) outcome {
	conn := &recording{left: data, piece: piece}
	c, err := wire.New(wire.Config{Dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }})
	if err != nil {
		t.Fatal(err)
	}
	o := newOrigin(t, c, "http://test")
	resp, err := o.Do(context.Background(), &wire.Request{Method: method, Path: "/"})
	var out outcome
	if err == nil {
		out.status = resp.Status
		out.body, err = read(resp.Body)
	}
	out.kind = wire.KindOf(err)
	if err != nil && out.kind == 0 {
		t.Fatalf("an error without a kind: %v", err)
	}
	out.pooled = statsOf(c).Idle == 1
	out.said = conn.said
	return out
}
