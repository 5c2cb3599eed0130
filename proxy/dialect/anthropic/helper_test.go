package anthropic_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
	"manti/proxy/llm"
)

var update = flag.Bool("update", false, "rewrite the golden sections of testdata/*.txtar")

// archive is a testdata file in the txtar form: a comment, then sections, each
// behind a line "-- name --".
type archive struct {
	path     string
	comment  string
	names    []string
	sections map[string]string
}

func readArchive(t testing.TB, path string) *archive {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{path: path, sections: map[string]string{}}
	name := ""
	for line := range strings.Lines(string(text)) {
		if mark, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(mark, " --") {
			name = strings.TrimSuffix(mark, " --")
			a.names = append(a.names, name)
			a.sections[name] = ""
			continue
		}
		if name == "" {
			a.comment += line
			continue
		}
		a.sections[name] += line
	}
	return a
}

// golden compares got with a section, or with -update writes it there.
func (a *archive) golden(t *testing.T, name, got string) {
	t.Helper()
	got = strings.TrimRight(got, "\n") + "\n"
	if !*update {
		if diff := cmp.Diff(a.sections[name], got); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", a.path, name, diff)
		}
		return
	}
	if _, there := a.sections[name]; !there {
		a.names = append(a.names, name)
	}
	a.sections[name] = got
	var out strings.Builder
	out.WriteString(a.comment)
	for _, n := range a.names {
		fmt.Fprintf(&out, "-- %s --\n%s", n, a.sections[n])
	}
	if err := os.WriteFile(a.path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// each runs f on every archive that matches.
func each(t *testing.T, pattern string, f func(t *testing.T, a *archive)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no testdata %s: %v", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			f(t, readArchive(t, path))
		})
	}
}

// frame is one server-sent event.
type frame struct{ event, data string }

// frames splits a stream whose events are an event and a data line each.
func frames(text string) []frame {
	var out []frame
	for block := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		var f frame
		for line := range strings.Lines(block) {
			line = strings.TrimRight(line, "\n")
			if v, ok := strings.CutPrefix(line, "event:"); ok {
				f.event = strings.TrimPrefix(v, " ")
			}
			if v, ok := strings.CutPrefix(line, "data:"); ok {
				f.data += strings.TrimPrefix(v, " ")
			}
		}
		if f != (frame{}) {
			out = append(out, f)
		}
	}
	return out
}

// parseStream is the chunks of a stream, and the error that ended reading.
func parseStream(text string) ([]llm.Chunk, error) {
	parser := anthropic.Dialect{}.Parser()
	var chunks []llm.Chunk
	for _, f := range frames(text) {
		var err error
		if chunks, err = parser.Frame([]byte(f.event), []byte(f.data), chunks); err != nil {
			return chunks, err
		}
	}
	return chunks, nil
}

// meterStream is what a meter reads of a stream, and the note of each frame.
func meterStream(text string) (dialect.Meter, []dialect.FrameNote) {
	meter := anthropic.Dialect{}.Meter(dialect.Messages)
	var notes []dialect.FrameNote
	for _, f := range frames(text) {
		notes = append(notes, meter.Frame([]byte(f.event), []byte(f.data)))
	}
	return meter, notes
}

func printStream(chunks []llm.Chunk) string {
	printer := anthropic.Dialect{}.Printer(nil)
	var out []byte
	for i := range chunks {
		out = printer.Chunk(&chunks[i], out)
	}
	return string(out)
}

var partKinds = map[llm.PartKind]string{
	llm.Text: "Text", llm.Image: "Image", llm.Audio: "Audio", llm.File: "File", llm.ToolUse: "ToolUse",
	llm.ToolResult: "ToolResult", llm.Thinking: "Thinking", llm.RedactedThinking: "RedactedThinking",
	llm.Refusal: "Refusal", llm.Opaque: "Opaque",
}

var chunkKinds = map[llm.ChunkKind]string{
	llm.Begin: "Begin", llm.TextDelta: "TextDelta", llm.ThinkingDelta: "ThinkingDelta",
	llm.SignatureDelta: "SignatureDelta", llm.RefusalDelta: "RefusalDelta", llm.PartBegin: "PartBegin",
	llm.ArgsDelta: "ArgsDelta", llm.PartEnd: "PartEnd", llm.LogProbsDelta: "LogProbsDelta", llm.Finish: "Finish",
	llm.UsageReport: "UsageReport", llm.End: "End", llm.ChunkError: "ChunkError",
}

// dump writes v as indented JSON without what is zero, and with names for
// numbers, and without paths.
func dump(v any) string {
	out, err := json.MarshalIndent(tree(reflect.ValueOf(v)), "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// dumpLine is dump on one line.
func dumpLine(v any) string {
	out, err := json.Marshal(tree(reflect.ValueOf(v)))
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func tree(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case llm.PartKind:
		return partKinds[x]
	case llm.ChunkKind:
		return chunkKinds[x]
	case llm.Estimate:
		return x.Tokens()
	case json.RawMessage:
		return x
	case json.Number:
		return x
	}
	switch v.Kind() {
	case reflect.Pointer:
		return tree(v.Elem())
	case reflect.Struct:
		fields := ordered{}
		for i := range v.NumField() {
			f := v.Field(i)
			if f.IsZero() || f.Kind() == reflect.Map && f.Len() == 0 || v.Type().Field(i).Name == "Path" {
				continue
			}
			name := v.Type().Field(i).Name
			if name == "Usage" && f.Kind() == reflect.Array {
				fields = append(fields, field{name, meters(f)})
				continue
			}
			fields = append(fields, field{name, tree(f)})
		}
		return fields
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = tree(v.Index(i))
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for _, k := range v.MapKeys() {
			m[k.String()] = tree(v.MapIndex(k))
		}
		return m
	}
	return v.Interface()
}

// ordered is an object that keeps its fields' order.
type (
	ordered []field
	field   struct {
		name  string
		value any
	}
)

func (o ordered) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			out = append(out, ',')
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		out = append(fmt.Appendf(out, "%q:", f.name), value...)
	}
	return append(out, '}'), nil
}
