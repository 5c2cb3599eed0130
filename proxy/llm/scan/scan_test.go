package scan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/llm/scan"
)

func TestObjectFindsMembers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		doc  string
		want map[string]string
		open int
	}{
		{"plain", `{"model":"m","stream":true}`, map[string]string{"model": `"m"`, "stream": `true`}, 1},
		{"escaped key", `{"mod\u0065l":"m"}`, map[string]string{"model": `"m"`}, 1},
		{"surrogate pair in a key", `{"\ud83d\ude00":1}`, map[string]string{"😀": `1`}, 1},
		{"space everywhere", " \n{ \"model\" :\t\"m\" , \"x\" : [ 1 , 2 ] } \r\n", map[string]string{"model": `"m"`, "x": `[ 1 , 2 ]`}, 3},
		{"nested namesakes don't count", `{"a":{"model":"x"},"b":[{"model":"y"}]}`, map[string]string{"model": ""}, 1},
		{"a namesake in a string", `{"a":"\"model\":\"x\"","model":"m"}`, map[string]string{"model": `"m"`}, 1},
		{"other case is another key", `{"Model":"m"}`, map[string]string{"model": ""}, 1},
		{"unwanted keys may repeat", `{"a":1,"a":2,"model":"m"}`, map[string]string{"model": `"m"`}, 1},
		{"empty key", `{"":-1.5e+3}`, map[string]string{"": `-1.5e+3`}, 1},
		{"null", `{"model":null}`, map[string]string{"model": `null`}, 1},
		{"empty object", `{}`, map[string]string{"model": ""}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var want []scan.Member
			for key := range tc.want {
				want = append(want, scan.Member{Key: key, Value: scan.Span{From: 7, To: 9}})
			}
			shape, err := scan.Object([]byte(tc.doc), want)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, m := range want {
				got[m.Key] = string(m.Value.Of([]byte(tc.doc)))
				if m.Value.Found() != (got[m.Key] != "") {
					t.Errorf("Found of %q = %v", m.Key, m.Value.Found())
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if shape.Open != tc.open || shape.Empty != (strings.TrimSpace(tc.doc) == "{}") {
				t.Errorf("shape = %+v, want open %d", shape, tc.open)
			}
		})
	}
}

func TestObjectRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		doc    string
		offset int
	}{
		{"nothing", ``, 0},
		{"an array", `[]`, 0},
		{"a string", `"{}"`, 0},
		{"open", `{"a":1`, 6},
		{"no value", `{"a":}`, 5},
		{"no colon", `{"a" 1}`, 5},
		{"trailing comma", `{"a":1,}`, 7},
		{"trailing comma in an array", `{"a":[1,]}`, 8},
		{"two documents", `{} {}`, 3},
		{"leading zero", `{"a":01}`, 6},
		{"bare minus", `{"a":-}`, 6},
		{"bare point", `{"a":1.}`, 7},
		{"bare exponent", `{"a":1e}`, 7},
		{"plus", `{"a":+1}`, 5},
		{"NaN", `{"a":NaN}`, 5},
		{"half a literal", `{"a":tru}`, 5},
		{"newline in a string", "{\"a\":\"x\ny\"}", 7},
		{"NUL in a string", "{\"a\":\"\x00\"}", 6},
		{"unknown escape", `{"a":"\x"}`, 7},
		{"short unicode escape", `{"a":"\u12"}`, 10},
		{"open string", `{"a":"x`, 7},
		{"open escape", `{"a":"\`, 7},
		{"byte order mark", "\xef\xbb\xbf{}", 0},
		{"single quotes", `{'a':1}`, 1},
		{"comment", `{/**/}`, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := scan.Object([]byte(tc.doc), nil)
			e, ok := errors.AsType[*scan.Error](err)
			if !ok || e.Offset != tc.offset {
				t.Errorf("got %v, want an error at %d", err, tc.offset)
			}
		})
	}
}

func TestObjectRefusesWantedTwice(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{"model":"a","model":"b"}`,
		`{"model":"a","mod\u0065l":"b"}`,
		`{"model":null,"x":1,"model":null}`,
	} {
		_, err := scan.Object([]byte(doc), []scan.Member{{Key: "model"}})
		e, ok := errors.AsType[*scan.Error](err)
		if !ok || e.Key != "model" || !strings.Contains(e.Error(), `"model" stands twice`) {
			t.Errorf("%s: got %v, want a duplicate of model", doc, err)
		}
	}
}

func TestDepthLimit(t *testing.T) {
	t.Parallel()
	for _, pair := range []struct{ open, closing string }{{"[", "]"}, {`{"a":`, "}"}} {
		nested := func(n int) []byte {
			return []byte(strings.Repeat(pair.open, n) + "1" + strings.Repeat(pair.closing, n))
		}
		if err := scan.Valid(nested(scan.MaxDepth)); err != nil {
			t.Errorf("%q at the limit: %v", pair.open, err)
		}
		if err := scan.Valid(nested(scan.MaxDepth + 1)); err == nil {
			t.Errorf("%q above the limit was accepted", pair.open)
		}
	}
	if scan.Valid([]byte(strings.Repeat("[", 1<<20))) == nil {
		t.Error("a million brackets were accepted")
	}
}

// TestStringEnds puts each byte that ends a run of plain bytes at each place of a long
// string, so that every lane of every word is tried.
func TestStringEnds(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 70 {
			text := []byte(strings.Repeat("é", 40))[:80]
			text[at] = byte(c)
			doc := append(append([]byte(`"`), text...), '"')
			if got, want := scan.Valid(doc) == nil, json.Valid(doc); got != want {
				t.Fatalf("byte %#x at %d: valid = %v, want %v", c, at, got, want)
			}
		}
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	doc := []byte(`{"a":{"b":[1]},"c":1,"c":2}`)
	if got := string(scan.Get(scan.Get(doc, "a"), "b")); got != "[1]" {
		t.Errorf("a.b = %q", got)
	}
	for _, key := range []string{"b", "c"} {
		if got := scan.Get(doc, key); got != nil {
			t.Errorf("%s = %q, want none", key, got)
		}
	}
	if got := scan.Get([]byte(`[1]`), "a"); got != nil {
		t.Errorf("member of an array = %q", got)
	}
}

func TestObjectDoesNotAllocate(t *testing.T) {
	doc := []byte(`{"messages":[{"role":"user","content":"a\nb"}],"model":"m","stream":true}`)
	allocs := testing.AllocsPerRun(100, func() {
		want := [...]scan.Member{{Key: "model"}, {Key: "stream"}}
		if _, err := scan.Object(doc, want[:]); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}
