package sse_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/sse"
)

// frame is a Frame that owns its bytes; a nil field is "<nil>".
type frame struct{ Raw, Event, Data string }

func own(f sse.Frame) frame {
	return frame{Raw: string(f.Raw), Event: text(f.Event), Data: text(f.Data)}
}

func text(b []byte) string {
	if b == nil {
		return "<nil>"
	}
	return string(b)
}

// scan feeds the pieces and collects all frames.
func scan(t testing.TB, s *sse.Scanner, pieces ...string) []frame {
	t.Helper()
	var out []frame
	for _, piece := range pieces {
		p := []byte(piece)
		s.Feed(p)
		for f, ok := s.Next(); ok; f, ok = s.Next() {
			out = append(out, own(f))
		}
		for i := range p {
			p[i] = '#' // the Scanner must not look at it again
		}
	}
	if f, ok := s.Close(); ok {
		out = append(out, own(f))
	}
	return out
}

var frameCases = []struct {
	name string
	in   string
	want []frame
}{
	{"nothing", "", nil},
	{"one event", "data: a\n\n", []frame{{"data: a\n\n", "<nil>", "a"}}},
	{"named event", "event: ping\ndata: {}\n\n", []frame{{"event: ping\ndata: {}\n\n", "ping", "{}"}}},
	{"no space after the colon", "data:a\n\ndata:  b\n\n", []frame{
		{"data:a\n\n", "<nil>", "a"}, {"data:  b\n\n", "<nil>", " b"},
	}},
	{"several data lines", "data: a\ndata:\ndata: c\n\n", []frame{{"data: a\ndata:\ndata: c\n\n", "<nil>", "a\n\nc"}}},
	{"empty data", "data\n\ndata:\n\n", []frame{{"data\n\n", "<nil>", ""}, {"data:\n\n", "<nil>", ""}}},
	{"comments", ": OPENROUTER PROCESSING\n\n:x\ndata: a\n\n", []frame{
		{": OPENROUTER PROCESSING\n\n", "<nil>", "<nil>"}, {":x\ndata: a\n\n", "<nil>", "a"},
	}},
	{"empty lines between frames", "\n\ndata: a\n\n\n", []frame{
		{"\n", "<nil>", "<nil>"}, {"\n", "<nil>", "<nil>"}, {"data: a\n\n", "<nil>", "a"}, {"\n", "<nil>", "<nil>"},
	}},
	{"CRLF", "event: e\r\ndata: a\r\n\r\ndata: b\r\n\r\n", []frame{
		{"event: e\r\ndata: a\r\n\r\n", "e", "a"}, {"data: b\r\n\r\n", "<nil>", "b"},
	}},
	{"CR", "event: e\rdata: a\r\rdata: b\r\r", []frame{{"event: e\rdata: a\r\r", "e", "a"}, {"data: b\r\r", "<nil>", "b"}}},
	{"LF, then CR alone", "data: a\n\rdata: b\n\n", []frame{{"data: a\n\r", "<nil>", "a"}, {"data: b\n\n", "<nil>", "b"}}},
	{"LF, then CRLF", "data: a\n\r\ndata: b\n\n", []frame{{"data: a\n\r\n", "<nil>", "a"}, {"data: b\n\n", "<nil>", "b"}}},
	{"CR, then CRLF", "data: a\r\r\ndata: b\n\n", []frame{
		{"data: a\r\r", "<nil>", "a"}, {"\n", "<nil>", "<nil>"}, {"data: b\n\n", "<nil>", "b"},
	}},
	{"byte order mark", "\ufeffdata: a\n\n\ufeffdata: b\n\n", []frame{
		{"\ufeffdata: a\n\n", "<nil>", "a"}, {"\ufeffdata: b\n\n", "<nil>", "<nil>"},
	}},
	{"byte order mark alone", "\ufeff\ndata: a\n\n", []frame{{"\ufeff\n", "<nil>", "<nil>"}, {"data: a\n\n", "<nil>", "a"}}},
	{"no empty line at the end", "data: a\n\ndata: b\n", []frame{{"data: a\n\n", "<nil>", "a"}, {"data: b\n", "<nil>", "b"}}},
	{"no line end at the end", "data: a\n\ndata: [DONE]", []frame{{"data: a\n\n", "<nil>", "a"}, {"data: [DONE]", "<nil>", "[DONE]"}}},
	{"bytes after the end mark", "data: [DONE]\n\nx", []frame{{"data: [DONE]\n\n", "<nil>", "[DONE]"}, {"x", "<nil>", "<nil>"}}},
	{"id, retry, unknown", "id: 1\nretry: 5\nfoo: x\ndata: a\n\n", []frame{{"id: 1\nretry: 5\nfoo: x\ndata: a\n\n", "<nil>", "a"}}},
	{"names are exact", " data: a\nDATA: b\ndatax: c\n\n", []frame{{" data: a\nDATA: b\ndatax: c\n\n", "<nil>", "<nil>"}}},
}

func TestFrames(t *testing.T) {
	t.Parallel()
	for _, tc := range frameCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, scan(t, &sse.Scanner{}, tc.in)); diff != "" {
				t.Errorf("one read (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, scan(t, &sse.Scanner{}, strings.Split(tc.in, "")...)); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
			for at := range len(tc.in) {
				if diff := cmp.Diff(tc.want, scan(t, &sse.Scanner{}, tc.in[:at], tc.in[at:])); diff != "" {
					t.Errorf("cut at %d (-want +got):\n%s", at, diff)
				}
			}
		})
	}
}

// TestNoDelay: a frame must come out as soon as it is whole, or each token of a stream
// would be one token late.
func TestNoDelay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in string }{
		{"LF", "data: a\n\n"}, {"CRLF", "data: a\r\n\r\n"}, {"CR", "data: a\r\r"}, {"comment", ": x\n\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var s sse.Scanner
			for i := range 3 {
				s.Feed([]byte(tc.in))
				if f, ok := s.Next(); !ok || string(f.Raw) != tc.in {
					t.Fatalf("frame %d: got %q, %v", i, f.Raw, ok)
				}
				if _, ok := s.Next(); ok {
					t.Fatalf("frame %d came twice", i)
				}
				if n := s.Buffered(); n != 0 {
					t.Fatalf("%d bytes held after a whole frame", n)
				}
			}
		})
	}
}

func TestFeedBeforeAllFramesAreTaken(t *testing.T) {
	t.Parallel()
	var s sse.Scanner
	s.Feed([]byte("data: a\n\ndata: b\n\nda"))
	if f, _ := s.Next(); string(f.Data) != "a" {
		t.Fatalf("got %q", f.Data)
	}
	s.Feed([]byte("ta: c\n\n"))
	for _, want := range []string{"b", "c"} {
		if f, _ := s.Next(); string(f.Data) != want {
			t.Fatalf("got %q, want %q", f.Data, want)
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	const limit = 64
	line := func(n int) string { return "data: " + strings.Repeat("x", n-len("data: \n\n")) + "\n\n" }
	for _, tc := range []struct {
		name string
		in   string
		ok   bool
	}{
		{"at the limit", line(limit), true},
		{"above it", line(limit + 1), false},
		{"far above it", line(limit * 10), false},
		{"many small frames", strings.Repeat(line(limit/2), 10), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 7, len(tc.in)} {
				s := &sse.Scanner{MaxFrameBytes: limit}
				for piece := range chunks(tc.in, size) {
					s.Feed(piece)
					for _, ok := s.Next(); ok; _, ok = s.Next() {
					}
					if n := s.Buffered(); n > limit {
						t.Fatalf("%d bytes held", n)
					}
				}
				var tooLong *sse.TooLongError
				if got := !errors.As(s.Err(), &tooLong); got != tc.ok {
					t.Errorf("reads of %d: error %v", size, s.Err())
				}
				if _, ok := s.Close(); ok {
					t.Errorf("reads of %d: a frame was left", size)
				}
			}
		})
	}
}

func chunks(s string, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(s) > 0 {
			n := min(size, len(s))
			if !yield([]byte(s[:n])) {
				return
			}
			s = s[n:]
		}
	}
}

// TestLinear feeds 8 MiB in small reads: rescanning what was seen would take minutes.
func TestLinear(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, unit string }{
		{"one long line", "xxxxxxxxxxxxxxxx"}, {"LF lines", ":xxxxxx\n"}, {"CR lines", ":\r:\r:\r:\r"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := "data: " + strings.Repeat(tc.unit, 8<<20/len(tc.unit))
			var s sse.Scanner
			for piece := range chunks(in, 512) {
				s.Feed(piece)
				if _, ok := s.Next(); ok {
					t.Fatal("a frame without an end")
				}
			}
			if f, ok := s.Close(); !ok || len(f.Raw) != len(in) {
				t.Fatalf("got %d bytes, want %d", len(f.Raw), len(in))
			}
		})
	}
}

func TestNoAllocations(t *testing.T) {
	frames := bytes.Repeat([]byte("event: x\ndata: {\"a\":1}\n\n"), 8)
	var s sse.Scanner
	allocs := testing.AllocsPerRun(100, func() {
		s.Feed(frames)
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a read of whole frames", allocs)
	}
}

func FuzzScanner(f *testing.F) {
	for _, tc := range frameCases {
		f.Add([]byte(tc.in), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		whole := scan(t, &sse.Scanner{}, string(in))
		var raw strings.Builder
		for _, fr := range whole {
			raw.WriteString(fr.Raw)
		}
		if raw.String() != string(in) {
			t.Fatalf("frames put together: %q, input %q", raw.String(), in)
		}
		var pieces []string
		for piece := range chunks(string(in), int(size%16)+1) {
			pieces = append(pieces, string(piece))
		}
		if diff := cmp.Diff(whole, scan(t, &sse.Scanner{}, pieces...)); diff != "" {
			t.Fatalf("cut into reads (-whole +cut):\n%s", diff)
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	frame := []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o",` +
		`"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	for _, bc := range []struct {
		name string
		cut  int
	}{{"whole", len(frame)}, {"cut", 100}} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			var s sse.Scanner
			for b.Loop() {
				s.Feed(frame[:bc.cut])
				s.Next()
				s.Feed(frame[bc.cut:])
				s.Next()
				s.Next()
			}
		})
	}
}
