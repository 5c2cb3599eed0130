package anthropic_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
)

// meters names what isn't zero of a usage.
func meters(v reflect.Value) any {
	out := ordered{}
	for i := range v.Len() {
		if n := v.Index(i).Int(); n != 0 {
			out = append(out, field{domain.Meter(i).String(), n})
		}
	}
	return out
}

// modern takes everything a current model takes.
var modern = dialect.Model{
	Name: "claude-next", OutputLimit: 64000, Reasoning: true, Effort: true, Sampling: true, StructuredOutput: true,
}

// TestRequests reads each request of our own, and writes it again.
func TestRequests(t *testing.T) {
	t.Parallel()
	each(t, "request_*.txtar", func(t *testing.T, a *archive) {
		d := anthropic.Dialect{}
		body := []byte(a.sections["request"])
		head, err := d.Head(dialect.Messages, body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := d.ParseRequest(body)
		if err != nil {
			t.Fatal(err)
		}
		if head.Model != req.Model || head.Stream != req.Stream {
			t.Errorf("Head says %s, %v; ParseRequest %s, %v", head.Model, head.Stream, req.Model, req.Stream)
		}
		a.golden(t, "hub", dump(req))
		out, losses, err := d.RenderRequest(req, modern)
		if err != nil {
			t.Fatal(err)
		}
		a.golden(t, "rendered", indent(t, out))
		a.golden(t, "losses", lines(losses))
	})
}

// TestAnswers reads each whole answer, and writes it again.
func TestAnswers(t *testing.T) {
	t.Parallel()
	each(t, "answer_*.txtar", func(t *testing.T, a *archive) {
		d := anthropic.Dialect{}
		body := []byte(a.sections["answer"])
		answer, err := d.ParseAnswer(body)
		if err != nil {
			t.Fatal(err)
		}
		a.golden(t, "hub", dump(answer))
		out, err := d.RenderAnswer(answer, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.golden(t, "rendered", indent(t, out))
		meter := d.Meter(dialect.Messages)
		meter.Body(body)
		if got, want := dump(meter.Reading()), dump(answer.Usage); got != want {
			t.Errorf("meter reads %s\nparser %s", got, want)
		}
	})
}

// TestStreams reads each stream, and writes it again; what was written reads
// the same.
func TestStreams(t *testing.T) {
	t.Parallel()
	each(t, "stream_*.txtar", func(t *testing.T, a *archive) {
		chunks, err := parseStream(a.sections["stream"])
		text := lines(chunks)
		if err != nil {
			text += "error: " + err.Error() + "\n"
		}
		a.golden(t, "chunks", text)
		meter, notes := meterStream(a.sections["stream"])
		a.golden(t, "reading", dump(meter.Reading()))
		if failed := notes[len(notes)-1].Failed; failed != (meter.Err() != nil) {
			t.Errorf("last frame failed: %v, error: %v", failed, meter.Err())
		}
		if err != nil {
			return
		}
		printed := printStream(chunks)
		a.golden(t, "printed", printed)
		again, err := parseStream(printed)
		if err != nil {
			t.Fatal(err)
		}
		if got := printStream(again); got != printed {
			t.Errorf("printed again:\n%s\nwant:\n%s", got, printed)
		}
	})
}

func lines[T any](list []T) string {
	var b strings.Builder
	for _, v := range list {
		b.WriteString(dumpLine(v) + "\n")
	}
	return b.String()
}

func indent(t *testing.T, raw []byte) string {
	t.Helper()
	var v json.RawMessage
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("no JSON: %v in %s", err, strconv.Quote(string(raw)))
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
