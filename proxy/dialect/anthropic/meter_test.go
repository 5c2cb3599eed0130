package anthropic_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/dialect/anthropic"
)

// TestMeterUsage: odd usage objects.
func TestMeterUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, usage string
		want        domain.Usage
	}{
		{"no split", `{"input_tokens":1,"cache_creation_input_tokens":7,"output_tokens":2}`, domain.Usage{domain.InputTokens: 1, domain.CacheWrite5mTokens: 7, domain.OutputTokens: 2}},
		{"a split without its sum", `{"input_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":2}`, domain.Usage{domain.InputTokens: 1, domain.CacheWrite5mTokens: 3, domain.CacheWrite1hTokens: 4, domain.OutputTokens: 2}},
		{"a split above its sum", `{"input_tokens":1,"cache_creation_input_tokens":3,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":2}`, domain.Usage{domain.InputTokens: 1, domain.CacheWrite1hTokens: 3, domain.OutputTokens: 2}},
		{"more thinking than output", `{"input_tokens":1,"output_tokens":2,"output_tokens_details":{"thinking_tokens":5}}`, domain.Usage{domain.InputTokens: 1, domain.ReasoningTokens: 2}},
		{"floats", `{"input_tokens":1.0,"output_tokens":2e1}`, domain.Usage{domain.InputTokens: 1, domain.OutputTokens: 20}},
		{"nulls and nonsense", `{"input_tokens":1,"cache_read_input_tokens":null,"cache_creation":null,"output_tokens":-2,"server_tool_use":null,"service_tier":7,"iterations":{}}`, domain.Usage{domain.InputTokens: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			meter := anthropic.Dialect{}.Meter(dialect.Messages)
			meter.Body([]byte(`{"type":"message","content":[],"usage":` + tc.usage + `}`))
			got := meter.Reading()
			if diff := cmp.Diff(tc.want, got.Usage); diff != "" || !got.Found || string(got.Raw) != tc.usage {
				t.Errorf("found %v, raw %s, usage (-want +got):\n%s", got.Found, got.Raw, diff)
			}
		})
	}
}

// TestMeterWithoutUsage: what reports no usage is weighed.
func TestMeterWithoutUsage(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"type":"message","content":[{"type":"text","text":"The capital of France is Paris."}]}`,
		`{"type":"message","content":[{"type":"thinking","thinking":"The capital of France is Paris."}],"usage":{}}`,
		`{"type":"message","content":[{"type":"tool_use","input":{"q":"The capital of"}}],"usage":null}`,
	} {
		meter := anthropic.Dialect{}.Meter(dialect.Messages)
		meter.Body([]byte(body))
		if got := meter.Reading(); got.Found || got.Text.Tokens() < 6 || got.Text.Tokens() > 14 {
			t.Errorf("%s: found %v, %d tokens", body, got.Found, got.Text.Tokens())
		}
	}
	for _, body := range []string{``, `{`, `[]`, `null`, `{"content":7}`, `<html>`} {
		meter := anthropic.Dialect{}.Meter(dialect.Messages)
		meter.Body([]byte(body))
		if got := meter.Reading(); got.Found || got.Text.Tokens() != 0 || meter.Err() != nil {
			t.Errorf("%s: %+v, %v", body, got, meter.Err())
		}
	}
}

// TestMeterNotes: what each frame is to a relay, with and without an event name.
func TestMeterNotes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		event, data string
		want        dialect.FrameNote
	}{
		{"message_start", `{"type":"message_start","message":{}}`, dialect.FrameNote{}},
		{"ping", `{"type":"ping"}`, dialect.FrameNote{}},
		{"content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`, dialect.FrameNote{}},
		{"content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"abc"}}`, dialect.FrameNote{Token: true, TextBytes: 3}},
		{"content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`, dialect.FrameNote{Token: true, TextBytes: 1}},
		{"content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"abcd"}}`, dialect.FrameNote{Token: true, TextBytes: 4}},
		{"content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"abcd"}}`, dialect.FrameNote{Token: true}},
		{"content_block_delta", `{"delta":{"type":"text_delta","text":"abc"},"index":0,"type":"content_block_delta"}`, dialect.FrameNote{Token: true, TextBytes: 3}},
		{"content_block_delta", `{"x":"\"delta\":{}","type":"content_block_delta","delta":{"type":"text_delta","text":"abc"}  }`, dialect.FrameNote{Token: true, TextBytes: 3}},
		{"content_block_delta", `{"type":"content_block_delta"`, dialect.FrameNote{Token: true}},
		{"message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}`, dialect.FrameNote{}},
		{"message_stop", `{"type":"message_stop"}`, dialect.FrameNote{End: true}},
		{"error", `{"type":"error","error":{"type":"api_error","message":"x"}}`, dialect.FrameNote{Failed: true}},
		{"future", `{"type":"future"}`, dialect.FrameNote{}},
		{"", ``, dialect.FrameNote{}},
	} {
		for _, event := range []string{tc.event, ""} {
			if event == "" && tc.data[max(0, len(tc.data)-1):] != "}" {
				continue // what is broken has no type
			}
			meter := anthropic.Dialect{}.Meter(dialect.Messages)
			if got := meter.Frame([]byte(event), []byte(tc.data)); got != tc.want {
				t.Errorf("event %q, %s: %+v, want %+v", event, tc.data, got, tc.want)
			}
			if (meter.Err() != nil) != tc.want.Failed {
				t.Errorf("event %q: error %v", event, meter.Err())
			}
		}
	}
}

// TestMeterDeltaDoesNotAllocate: deltas are nearly all frames that there are.
func TestMeterDeltaDoesNotAllocate(t *testing.T) {
	meter := anthropic.Dialect{}.Meter(dialect.Messages)
	event, data := []byte("content_block_delta"), []byte(textDelta)
	if n := testing.AllocsPerRun(100, func() { meter.Frame(event, data) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestStripUsage(t *testing.T) {
	t.Parallel()
	frame := "event: message_delta\ndata: {\"usage\":{\"output_tokens\":1}}\n\n"
	if got := string(anthropic.Dialect{}.StripUsage([]byte(frame), []byte("x"))); got != "x"+frame {
		t.Errorf("got %q", got)
	}
}
