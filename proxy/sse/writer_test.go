package sse_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/sse"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, event, data, want string
	}{
		{"data", "", "{}", "data: {}\n\n"},
		{"event", "ping", "{}", "event: ping\ndata: {}\n\n"},
		{"empty", "", "", "data: \n\n"},
		{"lines", "e", "a\n\nb\r\nc\rd", "event: e\ndata: a\ndata: \ndata: b\ndata: c\ndata: d\n\n"},
		{"line end at the end", "", "a\n", "data: a\ndata: \n\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := string(sse.Append([]byte(":x\n\n"), tc.event, []byte(tc.data)))
			if want := ":x\n\n" + tc.want; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestWriteThenRead(t *testing.T) {
	t.Parallel()
	out := sse.Comment(nil, "keep-alive")
	out = sse.End(append(sse.Begin(out, "delta"), `{"a":1}`...))
	out = sse.Append(out, "", []byte("a\nb"))
	want := []frame{
		{": keep-alive\n\n", "<nil>", "<nil>"},
		{"event: delta\ndata: {\"a\":1}\n\n", "delta", `{"a":1}`},
		{"data: a\ndata: b\n\n", "<nil>", "a\nb"},
	}
	if diff := cmp.Diff(want, scan(t, &sse.Scanner{}, string(out))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
