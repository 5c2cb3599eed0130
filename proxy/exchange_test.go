package proxy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
)

var update = flag.Bool("update", false, "write what the gateway does into testdata, to be read before it is committed")

// exchangePaths are the routes of the exchanges in testdata, by the first word of
// their file names.
var exchangePaths = map[string]string{
	"chat": chatPath, "messages": msgPath, "responses": "/v1/responses", "completions": "/v1/completions",
	"embeddings": "/v1/embeddings", "count": "/v1/messages/count_tokens",
}

// handBook has a model of each kind; every meter has a rate of its own.
func handBook() *domain.PriceBook {
	price := []domain.ModelPrice{{Cost: domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: recordedRates}}}}}
	book := &domain.PriceBook{Version: domain.EventID{9}}
	for _, m := range []struct {
		provider, name string
		kind           domain.ModelKind
	}{
		{"openai", "gpt-hand", domain.ChatModel}, {"anthropic", "claude-hand", domain.ChatModel},
		{"openai", "instruct-hand", domain.CompletionModel}, {"openai", "embed-hand", domain.EmbeddingModel},
	} {
		book.Models = append(book.Models, domain.ModelCard{
			Provider: m.provider, Name: m.name, Kind: m.kind, ContextLimit: 1 << 20, OutputLimit: 4096,
			Reasoning: true, Tools: true, Images: true, StructuredOutput: true, Prices: price,
		})
	}
	return book
}

// TestExchanges replays the exchanges of our own in testdata. Each file has a
// request, the answer that the provider gives ("answer STATUS"), what the provider
// must have been asked ("upstream") and what the event must say. The caller of
// the same dialect must get the answer as it is, or "relayed". If there is an
// "other request", it is the same one in the other dialect, with the same
// sections for it.
func TestExchanges(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no exchanges in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a := readArchive(t, file)
			endpoint, _, _ := strings.Cut(filepath.Base(file), "-")
			path := exchangePaths[endpoint]
			exchange(t, a, path, "")
			if _, ok := a.find("other request"); ok {
				exchange(t, a, map[string]string{chatPath: msgPath, msgPath: chatPath}[path], "other ")
			}
			if *update {
				a.write(t)
			}
		})
	}
}

// exchange makes one call of an archive, and holds what comes of it against the
// sections with a prefix.
func exchange(t *testing.T, a *archive, path, prefix string) {
	t.Helper()
	request, _ := a.find(prefix + "request")
	status, answer := a.answer(t)
	rec := recording{}
	rec.Response.Status, rec.Response.Body = status, answer
	rec.Response.Headers = map[string]string{"content-type": "application/json"}
	if strings.HasPrefix(answer, "event:") || strings.HasPrefix(answer, "data:") {
		rec.Response.Headers["content-type"] = "text/event-stream"
	}
	r, p := replay(t, handBook(), rec)
	got := r.post(path, request)
	if _, sent := p.got(); sent != nil {
		a.golden(t, prefix+"upstream", indented(t, sent))
	}
	body := strings.ReplaceAll(got.body, got.header.Get("Manti-Request-Id"), "CALL")
	switch {
	case prefix != "":
		a.golden(t, prefix+"answer", fmt.Sprintf("%d\n%s", got.status, created.ReplaceAllString(body, `"created":0`)))
	case body == answer && got.status == status: // as it should be: unchanged
		a.golden(t, "relayed", "")
	default:
		a.golden(t, "relayed", fmt.Sprintf("%d\n%s", got.status, body))
	}
	if r.events() == 0 {
		a.golden(t, prefix+"event", "none\n")
		return
	}
	a.golden(t, prefix+"event", told(r.only(), got))
}

// created is when a translated answer says that it was made: Anthropic's don't say,
// so it is the time of the call.
var created = regexp.MustCompile(`"created":\d+`)

// told is what an event tells of a call, and the header of what was dropped.
func told(e *domain.RequestCompleted, got answer) string {
	var b strings.Builder
	line := func(name string, v any) {
		if s := fmt.Sprint(v); s != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, s)
		}
	}
	line("outcome", e.Outcome)
	line("status", e.Status)
	line("error", e.Error)
	line("error text", e.Erasable.ErrorText)
	line("usage is", e.Provenance)
	line("estimator", e.Estimator)
	for m, n := range e.Usage {
		if n != 0 {
			line(domain.Meter(m).String(), n)
		}
	}
	line("cost", e.Private.Cost.Amount)
	line("charge", e.Charge.Amount)
	line("provider's request id", e.Private.Attempts[0].RequestID)
	line("end user", e.Erasable.EndUser)
	line("dropped", got.header.Get("Manti-Dropped"))
	return b.String()
}

func indented(t *testing.T, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return b.String() + "\n"
}

// archive is a text with named sections, in the form of txtar: a comment, then
// "-- name --" before each.
type archive struct {
	file, comment string
	sections      []section
}

type section struct{ name, text string }

func readArchive(t *testing.T, file string) *archive {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{file: file}
	for line := range strings.Lines(string(raw)) {
		name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-- ")
		if name, marks := strings.CutSuffix(name, " --"); ok && marks {
			a.sections = append(a.sections, section{name: name})
		} else if n := len(a.sections); n > 0 {
			a.sections[n-1].text += line
		} else {
			a.comment += line
		}
	}
	return a
}

func (a *archive) write(t *testing.T) {
	t.Helper()
	var b strings.Builder
	b.WriteString(a.comment)
	for _, s := range a.sections {
		fmt.Fprintf(&b, "-- %s --\n%s", s.name, s.text)
	}
	if err := os.WriteFile(a.file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (a *archive) find(name string) (string, bool) {
	for _, s := range a.sections {
		if s.name == name {
			return s.text, true
		}
	}
	return "", false
}

// answer is the provider's status and body; a body of JSON ends without the line's
// end.
func (a *archive) answer(t *testing.T) (int, string) {
	t.Helper()
	for _, s := range a.sections {
		if word, ok := strings.CutPrefix(s.name, "answer "); ok {
			status, err := strconv.Atoi(word)
			if err != nil || http.StatusText(status) == "" && status != 529 {
				t.Fatalf("status %q", word)
			}
			if strings.HasPrefix(s.text, "{") {
				return status, strings.TrimSuffix(s.text, "\n")
			}
			return status, s.text
		}
	}
	t.Fatal("there is no answer")
	return 0, ""
}

// golden compares got with a section, or puts it there. An empty section isn't
// written.
func (a *archive) golden(t *testing.T, name, got string) {
	t.Helper()
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	want, ok := a.find(name)
	if !*update {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		return
	}
	if !ok && got != "" {
		a.sections = append(a.sections, section{name: name})
	}
	for i := range a.sections {
		if a.sections[i].name == name {
			a.sections[i].text = got
		}
	}
}
