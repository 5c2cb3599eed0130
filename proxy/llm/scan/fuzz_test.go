package scan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"unicode/utf8"

	"manti/proxy/llm/scan"
)

// FuzzObject holds the scanner against encoding/json: the same documents are
// valid, and a wanted member's value is what Unmarshal finds.
func FuzzObject(f *testing.F) {
	for _, doc := range []string{
		`{"model":"m","messages":[{"role":"user","content":"a\nb"}],"stream":true}`,
		`{"mod\u0065l":"\ud83d\ude00","a":[1,-2.5e+3,null,false,{}]}`,
		`{"model":1,"model":2}`, ` { } `, `[]`, `"\`, `{"a":"` + "\x1f" + `"}`, `{"a":tru}`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if err, want := scan.Valid(doc), json.Valid(doc); (err == nil) != want && !tooDeep(err) {
			t.Fatalf("Valid = %v, encoding/json says %v", err, want)
		}
		want := []scan.Member{{Key: "model"}, {Key: "a"}}
		shape, err := scan.Object(doc, want)
		if err != nil {
			checkRefusal(t, doc, err)
			return
		}
		var tree map[string]json.RawMessage
		if err := json.Unmarshal(doc, &tree); err != nil || tree == nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		for _, m := range want {
			raw, there := tree[m.Key]
			if m.Value.Found() != there || !bytes.Equal(m.Value.Of(doc), raw) {
				t.Fatalf("%s = %q, encoding/json has %q", m.Key, m.Value.Of(doc), raw)
			}
			checkDecoders(t, m.Value.Of(doc))
		}
		if shape.Empty != (len(tree) == 0) || doc[shape.Open-1] != '{' {
			t.Fatalf("shape = %+v", shape)
		}
	})
}

func tooDeep(err error) bool {
	e, ok := errors.AsType[*scan.Error](err)
	return ok && e.Reason == "nested too deep"
}

// checkRefusal: what was refused is no JSON object, or says one member twice.
func checkRefusal(t *testing.T, doc []byte, err error) {
	e, ok := errors.AsType[*scan.Error](err)
	if !ok || e.Offset < 0 || e.Offset > len(doc) {
		t.Fatalf("a strange error: %v", err)
	}
	if e.Key != "" || tooDeep(err) {
		return
	}
	if json.Valid(doc) && bytes.TrimLeft(doc, " \t\r\n")[0] == '{' {
		t.Fatalf("refused a valid object: %v", err)
	}
}

func checkDecoders(t *testing.T, raw []byte) {
	var s string
	if isString := len(raw) > 0 && raw[0] == '"'; isString {
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if got, ok := scan.String(raw); !ok || got != s {
			t.Fatalf("String(%s) = %q, %v; want %q", raw, got, ok, s)
		}
	}
	if v, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		if got, ok := scan.Int64(raw); !ok || got != v {
			t.Fatalf("Int64(%s) = %d, %v", raw, got, ok)
		}
	}
}

// FuzzDecoders: no input makes a decoder panic or return broken UTF-8.
func FuzzDecoders(f *testing.F) {
	for _, raw := range []string{`"a\u00e9"`, `"\ud800"`, `"\`, "1e5", "-0.50e2", "true", "null", ""} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, _ := scan.String(raw); !utf8.ValidString(s) {
			t.Fatalf("String gave %q", s)
		}
		scan.Int64(raw)
		scan.Bool(raw)
		scan.Get(raw, "a")
	})
}

// FuzzAppendString: what was written reads back as the same text.
func FuzzAppendString(f *testing.F) {
	f.Add("a\"b\\c\n\x00\xff😀\u2028<")
	f.Fuzz(func(t *testing.T, text string) {
		raw := scan.AppendString(nil, text)
		var got string
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if want := string([]rune(text)); got != want || !utf8.Valid(raw) {
			t.Fatalf("%q came back as %q", text, got)
		}
		if decoded, ok := scan.String(raw); !ok || decoded != got {
			t.Fatalf("String(%s) = %q, %v", raw, decoded, ok)
		}
	})
}
