package anthropic_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
)

// seeds adds a section of each archive that matches.
func seeds(f *testing.F, pattern, section string) {
	f.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		f.Add(readArchive(f, path).sections[section])
	}
}

// FuzzRequest: no request makes the dialect panic; what it reads it can write,
// as valid JSON, or it names the field that it can't.
func FuzzRequest(f *testing.F) {
	seeds(f, "request_*.txtar", "request")
	f.Fuzz(func(t *testing.T, body string) {
		d := anthropic.Dialect{}
		_, headErr := d.Head(dialect.CountTokens, []byte(body))
		req, err := d.ParseRequest([]byte(body))
		for _, err := range []error{headErr, err} {
			if e, ok := errors.AsType[*domain.Error](err); err != nil && (!ok || e.Code != domain.CodeInvalid) {
				t.Fatalf("an error of another kind: %#v", err)
			}
		}
		if err != nil {
			return
		}
		out, _, err := d.RenderRequest(req, modern)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("rendered %s", out)
		}
		if !utf8.ValidString(body) {
			return
		}
		again, err := d.ParseRequest(out)
		if err != nil {
			t.Fatalf("can't read what was rendered: %v: %s", err, out)
		}
		if second, _, err := d.RenderRequest(again, modern); err != nil || string(second) != string(out) {
			t.Fatalf("rendered %s\nthen %s, %v", out, second, err)
		}
	})
}

// FuzzAnswer: no answer makes the dialect panic; what it reads it can write.
func FuzzAnswer(f *testing.F) {
	seeds(f, "answer_*.txtar", "answer")
	f.Add(`{"type":"error","error":{"type":"api_error","message":"x"}}`)
	f.Add(`{"input_tokens":7}`)
	f.Fuzz(func(t *testing.T, body string) {
		d := anthropic.Dialect{}
		for _, endpoint := range []dialect.Endpoint{dialect.Messages, dialect.CountTokens} {
			meter := d.Meter(endpoint)
			meter.Body([]byte(body))
			for _, n := range meter.Reading().Usage {
				if n < 0 {
					t.Fatalf("negative usage: %v", meter.Reading().Usage)
				}
			}
		}
		e := d.ParseError(400, http.Header{}, []byte(body))
		if _, out := d.RenderError(e); !json.Valid(out) || e.Message == "" {
			t.Fatalf("error %+v rendered %s", e, out)
		}
		answer, err := d.ParseAnswer([]byte(body))
		if err != nil {
			return
		}
		if out, err := d.RenderAnswer(answer, nil); err != nil || !json.Valid(out) {
			t.Fatalf("rendered %s, %v", out, err)
		}
	})
}

// FuzzStream: no stream makes parser, printer or meter panic; what is printed
// is a stream that reads the same.
func FuzzStream(f *testing.F) {
	seeds(f, "stream_*.txtar", "stream")
	f.Fuzz(func(t *testing.T, stream string) {
		meter, _ := meterStream(stream)
		for _, n := range meter.Reading().Usage {
			if n < 0 {
				t.Fatalf("negative usage: %v", meter.Reading().Usage)
			}
		}
		chunks, err := parseStream(stream)
		printed := printStream(chunks)
		for _, fr := range frames(printed) {
			if !json.Valid([]byte(fr.data)) {
				t.Fatalf("printed %s", fr.data)
			}
		}
		if err != nil {
			return
		}
		again, err := parseStream(printed)
		if err != nil {
			t.Fatalf("can't read what was printed: %v:\n%s", err, printed)
		}
		want, _ := collect(chunks)
		if got, _ := collect(again); len(got.Tools) != len(want.Tools) || got.Text != want.Text {
			t.Fatalf("printed %+v, want %+v", got, want)
		}
	})
}
