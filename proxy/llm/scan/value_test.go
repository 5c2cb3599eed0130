package scan_test

import (
	"encoding/json"
	"testing"

	"manti/proxy/llm/scan"
)

func TestString(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		raw  string
		want string
		ok   bool
	}{
		{`""`, "", true},
		{`"plain"`, "plain", true},
		{`"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t", true},
		{`"\u00e9\u20AC"`, "é€", true},
		{`"\ud83d\ude00"`, "😀", true},
		{`"\ud83d"`, "\uFFFD", true},
		{`"\ud83dx"`, "\uFFFDx", true},
		{`"\ude00\ud83d\ude00"`, "\uFFFD😀", true},
		{"\"a\xffb\"", "a\uFFFDb", true},
		{`null`, "", false},
		{`1`, "", false},
		{`"`, "", false},
		{``, "", false},
		{`"\"`, "", false},
		{`"\u12"`, "", false},
	} {
		got, ok := scan.String([]byte(tc.raw))
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("String(%s) = %q, %v; want %q, %v", tc.raw, got, ok, tc.want, tc.ok)
		}
	}
}

func TestInt64(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		raw  string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"-0", 0, true},
		{"28", 28, true},
		{"28.0", 28, true},
		{"2.8e1", 28, true},
		{"2800E-2", 28, true},
		{"-1.50e2", -150, true},
		{"0e999999", 0, true},
		{"0.000", 0, true},
		{"9223372036854775807", 1<<63 - 1, true},
		{"-9223372036854775808", -1 << 63, true},
		{"9223372036854775808", 0, false},
		{"1e19", 0, false},
		{"1e999999999", 0, false},
		{"1e-1", 0, false},
		{"1e99999999999999999999", 0, false},
		{"28.5", 0, false},
		{"+1", 0, false},
		{"1e", 0, false},
		{`"1"`, 0, false},
		{"null", 0, false},
		{"", 0, false},
	} {
		if got, ok := scan.Int64([]byte(tc.raw)); ok != tc.ok || got != tc.want {
			t.Errorf("Int64(%s) = %d, %v; want %d, %v", tc.raw, got, ok, tc.want, tc.ok)
		}
	}
}

func TestBoolAndNull(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][2]bool{
		"true": {true, true}, "false": {false, true}, "null": {}, "1": {}, `"true"`: {}, "": {},
	} {
		if v, ok := scan.Bool([]byte(raw)); v != want[0] || ok != want[1] {
			t.Errorf("Bool(%s) = %v, %v", raw, v, ok)
		}
		if got := scan.IsNull([]byte(raw)); got != (raw == "null" || raw == "") {
			t.Errorf("IsNull(%s) = %v", raw, got)
		}
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"", `""`},
		{"plain é €", `"plain é €"`},
		{"a\"b\\c", `"a\"b\\c"`},
		{"\n\r\t\x00\x1f", `"\n\r\t\u0000\u001f"`},
		{"<&>", `"<&>"`},
		{"a\xffb\xc3", "\"a\uFFFDb\uFFFD\""},
		{"\uFFFD", "\"\uFFFD\""},
		{"\xed\xa0\x80", "\"\uFFFD\uFFFD\uFFFD\""},
	} {
		if got := string(scan.AppendString(nil, tc.in)); got != tc.want {
			t.Errorf("AppendString(%q) = %s, want %s", tc.in, got, tc.want)
		}
		if got := string(scan.AppendString([]byte("x"), []byte(tc.in))); got != "x"+tc.want {
			t.Errorf("AppendString of bytes %q = %s", tc.in, got)
		}
		if !json.Valid([]byte(tc.want)) {
			t.Errorf("%s isn't JSON", tc.want)
		}
	}
}
