package openai_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/openai"
	"manti/proxy/llm"
)

var update = flag.Bool("update", false, "rewrite the golden sections of testdata/*.txtar")

// able is a model that can do everything.
var able = dialect.Model{
	Name: "gpt-test", Reasoning: true, Effort: true, Sampling: true, StructuredOutput: true,
}

// archive is a file of testdata in the txtar form: text, then sections, each after a
// line "-- name --".
type archive struct {
	path     string
	text     string
	names    []string
	sections map[string]string
}

// archives runs f for each file that matches, and writes it back with -update.
func archives(t *testing.T, pattern string, f func(t *testing.T, a *archive)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no testdata for %s: %v", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a := readArchive(t, path)
			f(t, a)
			if *update {
				a.write(t)
			}
		})
	}
}

func readArchive(t *testing.T, path string) *archive {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{path: path, sections: make(map[string]string)}
	for line := range strings.Lines(string(raw)) {
		name, ok := strings.CutPrefix(line, "-- ")
		if name, end := strings.CutSuffix(name, " --\n"); ok && end {
			a.names = append(a.names, name)
			a.sections[name] = ""
			continue
		}
		if len(a.names) == 0 {
			a.text += line
			continue
		}
		a.sections[a.names[len(a.names)-1]] += line
	}
	return a
}

func (a *archive) write(t *testing.T) {
	t.Helper()
	out := a.text
	for _, name := range a.names {
		out += "-- " + name + " --\n" + a.sections[name]
	}
	if err := os.WriteFile(a.path, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}

// golden compares a section with what was got, or takes it over.
func (a *archive) golden(t *testing.T, name, got string) {
	t.Helper()
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	if *update {
		if _, there := a.sections[name]; !there {
			a.names = append(a.names, name)
		}
		a.sections[name] = got
		return
	}
	if diff := cmp.Diff(a.sections[name], got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// dump writes a value of the hub without what is zero in it, and without paths.
func dump(v any) string {
	var b strings.Builder
	dumpValue(&b, reflect.ValueOf(v), "")
	return strings.TrimPrefix(b.String(), "\n")
}

func dumpValue(b *strings.Builder, v reflect.Value, indent string) {
	switch x := v.Interface().(type) {
	case json.RawMessage:
		fmt.Fprintf(b, " %s\n", x)
		return
	case llm.PartKind:
		fmt.Fprintf(b, " %s\n", partNames[x])
		return
	case llm.ChunkKind:
		fmt.Fprintf(b, " %s\n", chunkNames[x])
		return
	case llm.Estimate:
		fmt.Fprintf(b, " %d tokens\n", x.Tokens())
		return
	case domain.Usage:
		for m, n := range x {
			if n != 0 {
				fmt.Fprintf(b, " %s=%d", domain.Meter(m), n)
			}
		}
		b.WriteString("\n")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		dumpValue(b, v.Elem(), indent)
	case reflect.Struct:
		b.WriteString("\n")
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() && v.Type().Field(i).Name != "Path" {
				b.WriteString(indent + v.Type().Field(i).Name + ":")
				dumpValue(b, f, indent+"  ")
			}
		}
	case reflect.Slice:
		b.WriteString("\n")
		for i := range v.Len() {
			b.WriteString(indent + "-")
			dumpValue(b, v.Index(i), indent+"  ")
		}
	case reflect.Map:
		b.WriteString("\n")
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			b.WriteString(indent + key.String() + ":")
			dumpValue(b, v.MapIndex(key), indent+"  ")
		}
	case reflect.String:
		fmt.Fprintf(b, " %q\n", v.String())
	default:
		fmt.Fprintf(b, " %v\n", v.Interface())
	}
}

var partNames = map[llm.PartKind]string{
	llm.Text: "Text", llm.Image: "Image", llm.Audio: "Audio", llm.File: "File", llm.ToolUse: "ToolUse",
	llm.ToolResult: "ToolResult", llm.Thinking: "Thinking", llm.RedactedThinking: "RedactedThinking",
	llm.Refusal: "Refusal", llm.Opaque: "Opaque",
}

var chunkNames = map[llm.ChunkKind]string{
	llm.Begin: "Begin", llm.TextDelta: "TextDelta", llm.ThinkingDelta: "ThinkingDelta",
	llm.SignatureDelta: "SignatureDelta", llm.RefusalDelta: "RefusalDelta", llm.PartBegin: "PartBegin",
	llm.ArgsDelta: "ArgsDelta", llm.PartEnd: "PartEnd", llm.LogProbsDelta: "LogProbsDelta", llm.Finish: "Finish",
	llm.UsageReport: "UsageReport", llm.End: "End", llm.ChunkError: "ChunkError",
}

func losses(all []llm.Loss) string {
	var b strings.Builder
	for _, l := range all {
		kind := "hint"
		if l.Meaning {
			kind = "meaning"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", kind, l.Field, l.Why)
	}
	return b.String()
}

// TestRequests reads a caller's request into the hub and writes it for OpenAI.
func TestRequests(t *testing.T) {
	t.Parallel()
	archives(t, "request_*.txtar", func(t *testing.T, a *archive) {
		req, err := openai.Dialect{}.ParseRequest([]byte(a.sections["request"]))
		if err != nil {
			t.Fatal(err)
		}
		a.golden(t, "hub", dump(req))
		out, lost, err := openai.Dialect{}.RenderRequest(req, able)
		if err != nil || !json.Valid(out) {
			t.Fatalf("%v: %s", err, out)
		}
		a.golden(t, "rendered", indent(t, out))
		a.golden(t, "losses", losses(lost))

		again, err := openai.Dialect{}.ParseRequest(out)
		if err != nil {
			t.Fatal(err)
		}
		twice, _, err := openai.Dialect{}.RenderRequest(again, able)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(out), string(twice)); diff != "" {
			t.Errorf("read and written again (-once +twice):\n%s", diff)
		}
	})
}

// TestAnswers reads a provider's answer into the hub and writes it for a caller.
func TestAnswers(t *testing.T) {
	t.Parallel()
	archives(t, "answer_*.txtar", func(t *testing.T, a *archive) {
		body := []byte(a.sections["answer"])
		answer, err := openai.Dialect{}.ParseAnswer(body)
		if err != nil {
			t.Fatal(err)
		}
		a.golden(t, "hub", dump(answer))
		out, err := openai.Dialect{}.RenderAnswer(answer, &llm.Request{})
		if err != nil || !json.Valid(out) {
			t.Fatalf("%v: %s", err, out)
		}
		a.golden(t, "rendered", indent(t, out))
		m := openai.Dialect{}.Meter(dialect.ChatCompletions)
		m.Body(body)
		if diff := cmp.Diff(answer.Usage, m.Reading()); diff != "" {
			t.Errorf("meter (-answer +meter):\n%s", diff)
		}
	})
}

// TestStreams reads a provider's stream into the hub and writes it for a caller that
// asked for usage.
func TestStreams(t *testing.T) {
	t.Parallel()
	archives(t, "stream_*.txtar", func(t *testing.T, a *archive) {
		body := a.sections["stream"]
		chunks := parse(t, body)
		a.golden(t, "hub", dump(chunks))
		p := openai.Dialect{}.Printer(&llm.Request{IncludeUsage: true, Model: "asked"})
		var out []byte
		for i := range chunks {
			out = p.Chunk(&chunks[i], out)
		}
		a.golden(t, "rendered", string(out))
		var notes strings.Builder
		m := openai.Dialect{}.Meter(dialect.ChatCompletions)
		for _, f := range frames(body) {
			fmt.Fprintf(&notes, "%+v\n", m.Frame(f.Event, f.Data))
		}
		a.golden(t, "notes", notes.String())
		a.golden(t, "reading", dump(m.Reading()))
	})
}

func indent(t *testing.T, raw []byte) string {
	t.Helper()
	var v json.RawMessage = raw
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
