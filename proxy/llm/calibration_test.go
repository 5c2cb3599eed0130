package llm_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"manti/proxy/llm"
)

// TestEstimateAgainstRecordings holds the estimator against answers whose
// providers counted their tokens: whole answers in the shapes of OpenAI and
// Anthropic, of all models, without hidden reasoning. The recordings aren't
// part of the project: MANTI_RECORDINGS names their folder.
//
// Ratios are in percent of the reported figure. Far off are answers that call
// tools: models write calls in forms of their own, which no answer shows.
func TestEstimateAgainstRecordings(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("MANTI_RECORDINGS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "recordings")
	}
	files, err := filepath.Glob(filepath.Join(folder, "public", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Skipf("no recordings to hold the estimator against (set MANTI_RECORDINGS to their folder): %v", err)
	}
	var ratios, errors []int64
	for _, file := range files {
		for _, a := range recordedAnswers(t, file) {
			var e llm.Estimate
			e.Add([]byte(a.text))
			ratio := 100 * e.Tokens() / a.tokens
			ratios = append(ratios, ratio)
			errors = append(errors, max(ratio, 100*a.tokens/e.Tokens()))
		}
	}
	if len(ratios) < 30 {
		t.Fatalf("only %d answers found", len(ratios))
	}
	slices.Sort(ratios)
	slices.Sort(errors)
	at := func(list []int64, percent int) int64 { return list[(len(list)-1)*percent/100] }
	t.Logf("%d answers; estimate in percent of reported: p10 %d, median %d, p90 %d; factor in percent: median %d, p90 %d",
		len(ratios), at(ratios, 10), at(ratios, 50), at(ratios, 90), at(errors, 50), at(errors, 90))
	if m := at(ratios, 50); m < 90 || m > 115 {
		t.Errorf("the median estimate is %d %% of the reported figure", m)
	}
	if m := at(errors, 50); m > 125 {
		t.Errorf("half of the estimates are off by more than a factor of %d %%", m)
	}
	if p := at(errors, 90); p > 200 {
		t.Errorf("a tenth of the estimates is off by more than a factor of %d %%", p)
	}
}

type counted struct {
	text   string
	tokens int64
}

// recordedAnswers are the whole answers of a file that are text, or calls of tools,
// and nothing hidden.
func recordedAnswers(t *testing.T, path string) []counted {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []counted
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var r struct {
			Wire     string
			Stream   bool
			Response struct {
				Status int
				Body   string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Stream || r.Response.Status != 200 {
			continue
		}
		var a counted
		switch r.Wire {
		case "openai-chat":
			a = openAIAnswer(r.Response.Body)
		case "anthropic-messages":
			a = anthropicAnswer(r.Response.Body)
		}
		// Outside of 1.25 to 8 bytes per token the text is not what was counted.
		if a.text != "" && a.tokens >= 4 && 5*a.tokens < 4*int64(len(a.text)) && int64(len(a.text)) < 8*a.tokens {
			out = append(out, a)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func openAIAnswer(body string) counted {
	var d struct {
		Choices []struct {
			Message struct {
				Content          string
				Reasoning        string
				ReasoningContent string `json:"reasoning_content"`
				ToolCalls        []struct {
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			}
		}
		Usage struct {
			Tokens  int64 `json:"completion_tokens"`
			Details struct {
				Reasoning int64 `json:"reasoning_tokens"`
			} `json:"completion_tokens_details"`
		}
	}
	if json.Unmarshal([]byte(body), &d) != nil || len(d.Choices) != 1 {
		return counted{}
	}
	m := d.Choices[0].Message
	shown := m.Reasoning + m.ReasoningContent
	if d.Usage.Details.Reasoning > 0 && shown == "" {
		return counted{}
	}
	text := shown + m.Content
	for _, c := range m.ToolCalls {
		text += c.Function.Name + c.Function.Arguments
	}
	return counted{text, d.Usage.Tokens}
}

func anthropicAnswer(body string) counted {
	var d struct {
		Content []struct {
			Type, Text, Thinking, Name string
			Input                      json.RawMessage
		}
		Usage struct {
			Tokens int64 `json:"output_tokens"`
		}
	}
	if json.Unmarshal([]byte(body), &d) != nil {
		return counted{}
	}
	text := ""
	for _, b := range d.Content {
		switch b.Type {
		case "text", "thinking", "tool_use":
			text += b.Text + b.Thinking + b.Name + string(b.Input)
		default:
			return counted{}
		}
	}
	return counted{text, d.Usage.Tokens}
}
