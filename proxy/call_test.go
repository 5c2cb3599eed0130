package proxy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"manti/domain"
	"manti/proxy"
	"manti/proxy/dialect"
)

const (
	chatPath = "/v1/chat/completions"
	msgPath  = "/v1/messages"
)

func chat(model string, stream bool) string {
	s := ""
	if stream {
		s = `,"stream":true`
	}
	return `{"model":"` + model + `","messages":[{"role":"user","content":"Hello there, how are you?"}],"max_tokens":200` + s + `}`
}

func TestCallsInBothDialects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, path, model string
		stream            bool
		translated        bool
		end               string // of a stream
	}{
		{"openai", chatPath, "gpt-4o", false, false, ""},
		{"openai streamed", chatPath, "gpt-4o", true, false, "data: [DONE]\n\n"},
		{"anthropic", msgPath, "claude-3-5-haiku-20241022", false, false, ""},
		{"anthropic streamed", msgPath, "claude-3-5-haiku-20241022", true, false, "data: {\"type\":\"message_stop\"}\n\n"},
		{"openai to anthropic", chatPath, "claude-3-5-haiku-20241022", false, true, ""},
		{"openai to anthropic streamed", chatPath, "claude-3-5-haiku-20241022", true, true, "data: [DONE]\n\n"},
		{"anthropic to openai", msgPath, "gpt-4o", false, true, ""},
		{"anthropic to openai streamed", msgPath, "gpt-4o", true, true, "data: {\"type\":\"message_stop\"}\n\n"},
		{"the simulator as openai", chatPath, "sim/fast", true, false, "data: [DONE]\n\n"},
		{"the simulator as anthropic", msgPath, "sim/fast", true, false, "data: {\"type\":\"message_stop\"}\n\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{})
			got := r.post(test.path, chat(test.model, test.stream))
			if got.status != http.StatusOK {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if !strings.HasSuffix(got.body, test.end) {
				t.Errorf("the stream ends with %q, want %q", got.body[max(0, len(got.body)-80):], test.end)
			}
			e := r.only()
			books := r.sim.Books()
			if e.Outcome != domain.Completed || e.Provenance != domain.Reported || e.Status != 200 || e.Stream != test.stream {
				t.Errorf("event: got %+v", e.RequestPublic)
			}
			if got, want := domain.Usage(e.Usage), domain.Usage(books.Reported); got != want {
				t.Errorf("usage: got %v, the provider's books say %v", got, want)
			}
			if e.Charge.Amount.IsZero() || !e.Charge.Amount.Equal(e.Private.Cost.Amount) || e.Charge.Currency != "USD" {
				t.Errorf("charge %v, cost %v", e.Charge, e.Private.Cost)
			}
			if test.stream && (e.FirstToken.IsZero() || !r.recorder.synced[1]) {
				t.Errorf("first token %v; start durable before the first byte: %v", e.FirstToken, r.recorder.synced[1])
			}
			if a := e.Private.Attempts; len(a) != 1 || a[0].RequestID == "" || a[0].Status != 200 {
				t.Errorf("attempts: %+v", a)
			}
		})
	}
}

func TestUsageIsOnlyShownToWhoAskedForIt(t *testing.T) {
	t.Parallel()
	ask := strings.Replace(chat("gpt-4o", true), `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	for body, want := range map[string]bool{chat("gpt-4o", true): false, ask: true} {
		r := newRig(t, rigConfig{})
		got := r.post(chatPath, body)
		if has := strings.Contains(got.body, `"usage"`); has != want {
			t.Errorf("usage in the stream: %v, want %v\n%s", has, want, got.body)
		}
		if e := r.only(); domain.Usage(e.Usage).IsZero() {
			t.Error("the event has no usage")
		}
	}
}

func TestRefusedCallsLeaveNoEvent(t *testing.T) {
	t.Parallel()
	stale := func(r *rig) {
		s := *r.gateway.Snapshot()
		s.At = time.Now().Add(-time.Hour)
		r.gateway.SetSnapshot(&s)
	}
	tests := []struct {
		name   string
		path   string
		body   string
		header []string
		before func(*rig)
		status int
		text   string
	}{
		{"no key", chatPath, chat("gpt-4o", false), []string{"Authorization", ""}, nil, 401, "no API key"},
		{"an unknown key", chatPath, chat("gpt-4o", false), []string{"Authorization", "Bearer sk-manti-wrong"}, nil, 401, "isn't known"},
		{"malformed JSON", chatPath, `{"model":`, nil, nil, 400, ""},
		{"malformed behind the model", chatPath, `{"model":"gpt-4o","messages":[}`, nil, nil, 400, ""},
		{"not an object", chatPath, `[]`, nil, nil, 400, ""},
		{"no model", chatPath, `{"messages":[]}`, nil, nil, 400, "model"},
		{"a model of the wrong type", chatPath, `{"model":3}`, nil, nil, 400, "model"},
		{"an unknown model", chatPath, chat("nonsense", false), nil, nil, 404, "nonsense"},
		{"a provider that isn't set up", chatPath, chat("other-model", false), nil, nil, 404, "MANTI_PROVIDERS_ELSEWHERE_API_KEY"},
		{"a model that works instead", chatPath, chat("other-model", false), nil, nil, 404, "sim/fast"},
		{"a chat model for embeddings", "/v1/embeddings", `{"model":"gpt-4o","input":"x"}`, nil, nil, 400, "chat"},
		{"an embedding model for chat", chatPath, chat("sim/embed", false), nil, nil, 400, "embedding"},
		{"an endpoint that the provider lacks", "/v1/responses", `{"model":"claude-3-5-haiku-20241022","input":"x"}`, nil, nil, 400, "/v1/chat/completions"},
		{"a compressed body", chatPath, chat("gpt-4o", false), []string{"Content-Encoding", "gzip"}, nil, 400, "uncompressed"},
		{"a body over the limit", chatPath, `{"model":"gpt-4o","x":"` + strings.Repeat("x", 5000) + `"}`, nil, nil, 413, "larger than 4096 bytes"},
		{"n of two for anthropic", chatPath, strings.Replace(chat("claude-3-5-haiku-20241022", false), "{", `{"n":2,`, 1), nil, nil, 400, "n"},
		{"logit_bias for anthropic", chatPath, strings.Replace(chat("claude-3-5-haiku-20241022", false), "{", `{"logit_bias":{"1":2},`, 1), nil, nil, 400, "logit_bias"},
		{"a hint where nothing may be lost", chatPath, strings.Replace(chat("claude-3-5-haiku-20241022", false), "{", `{"seed":2,`, 1), []string{"Manti-Lossy", "refuse"}, nil, 400, "seed"},
		{"draining", chatPath, chat("gpt-4o", false), nil, func(r *rig) { r.gateway.StopAdmitting() }, 503, "shutting down"},
		{"no snapshot", chatPath, chat("gpt-4o", false), nil, func(r *rig) { r.gateway.SetSnapshot(nil) }, 503, "starting"},
		{"a stale snapshot", chatPath, chat("gpt-4o", false), nil, stale, 503, "not heard from its database"},
		{"a start that can't be written", chatPath, chat("gpt-4o", false), nil, func(r *rig) { r.recorder.startErr = errDisk }, 503, "can't record"},
		{"anthropic's shape", msgPath, `{"model":"nonsense","max_tokens":5,"messages":[]}`, nil, nil, 404, `"type":"error"`},
		{"no max_tokens", msgPath, `{"model":"claude-3-5-haiku-20241022","messages":[]}`, nil, nil, 400, "max_tokens"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{edit: func(c *proxy.Config) { c.MaxBodyBytes = 4096 }})
			if test.before != nil {
				test.before(r)
			}
			got := r.post(test.path, test.body, test.header...)
			if got.status != test.status || !strings.Contains(got.body, test.text) {
				t.Errorf("got %d %s, want %d with %q", got.status, got.body, test.status, test.text)
			}
			if !json.Valid([]byte(got.body)) || got.header.Get("Manti-Request-Id") == "" {
				t.Errorf("the error is no JSON or has no request id: %s", got.body)
			}
			if n := r.events(); n != 0 || len(r.recorder.started) != 0 {
				t.Errorf("the call left %d events and %d starts", n, len(r.recorder.started))
			}
			if books := r.sim.Books(); books.Begun != 0 {
				t.Errorf("the provider was called %d times", books.Begun)
			}
		})
	}
}

func TestLossesAreNamed(t *testing.T) {
	t.Parallel()
	body := strings.Replace(chat("claude-3-5-haiku-20241022", false), "{", `{"seed":2,"user":"ada","presence_penalty":0.5,"frequency_penalty":0,"n":1,"temperature":0.3,`, 1)
	r := newRig(t, rigConfig{})
	got := r.post(chatPath, body)
	dropped := got.header.Get("Manti-Dropped")
	if got.status != 200 || !strings.Contains(dropped, "seed") || !strings.Contains(dropped, "presence_penalty") {
		t.Errorf("got %d, manti-dropped %q: %s", got.status, dropped, got.body)
	}
	for _, no := range []string{"frequency_penalty", "n,", "temperature"} {
		if strings.Contains(dropped+",", no) {
			t.Errorf("%s is no loss, got %q", no, dropped)
		}
	}
	if e := r.only(); e.Erasable.EndUser != "ada" {
		t.Errorf("end user: got %q", e.Erasable.EndUser)
	}
	allowed := newRig(t, rigConfig{}).post(chatPath, strings.Replace(body, "{", `{"logit_bias":{"1":2},`, 1), "Manti-Lossy", "allow")
	if allowed.status != 200 || !strings.Contains(allowed.header.Get("Manti-Dropped"), "logit_bias") {
		t.Errorf("manti-lossy: allow: got %d, %q", allowed.status, allowed.header.Get("Manti-Dropped"))
	}
}

func TestProviderErrorsPassUnchangedInTheirDialect(t *testing.T) {
	t.Parallel()
	const body = `{ "error": {"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded","new_field":1} }`
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", "req_abc")
		w.Header().Set("Retry-After-Ms", "1500")
		w.Header().Set("X-Ratelimit-Remaining-Tokens", "0")
		w.Header().Set("Openai-Organization", "org-operator")
		w.Header().Set("Set-Cookie", "a=b")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(body))
	})
	r := newRig(t, rigConfig{upstream: upstream})
	got := r.post(chatPath, chat("gpt-4o", true))
	if got.status != 429 || got.body != body {
		t.Errorf("got %d %s", got.status, got.body)
	}
	for name, want := range map[string]string{"X-Request-Id": "req_abc", "Retry-After-Ms": "1500", "X-Ratelimit-Remaining-Tokens": "0", "Manti-Error-Source": "provider", "Openai-Organization": "", "Set-Cookie": ""} {
		if v := got.header.Get(name); v != want {
			t.Errorf("%s: got %q, want %q", name, v, want)
		}
	}
	e := r.only()
	if e.Outcome != domain.ProviderError || e.Status != 429 || !e.Charge.Amount.IsZero() || e.Private.Attempts[0].RequestID != "req_abc" || e.Erasable.ErrorText != "slow down" {
		t.Errorf("event: %+v %+v %+v", e.RequestPublic, e.Private, e.Erasable)
	}
	translated := newRig(t, rigConfig{upstream: upstream}).post(msgPath, chat("gpt-4o", false))
	if translated.status != 429 || !strings.Contains(translated.body, `"type":"rate_limit_error"`) || !strings.Contains(translated.body, "slow down") {
		t.Errorf("in anthropic's dialect: got %d %s", translated.status, translated.body)
	}
}

func TestFieldsPassUnchangedInTheSameDialect(t *testing.T) {
	t.Parallel()
	var seen http.Header
	var body map[string]any
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		_ = json.NewDecoder(r.Body).Decode(&body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"msg_1","type":"message","role":"assistant","model":"claude-3-5-haiku-20241022","content":[{"type":"new_block","x":1}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4},"new_field":{"a":[1]}}`))
	})
	r := newRig(t, rigConfig{upstream: upstream})
	got := r.post(msgPath, `{"model":"anthropic/claude-3-5-haiku-20241022","max_tokens":5,"new_param":{"b":2},"messages":[{"role":"user","content":"x"}]}`,
		"Anthropic-Beta", "some-beta-2026", "Anthropic-Version", "2024-01-01", "Cookie", "private=1", "X-Forwarded-For", "10.0.0.1", "User-Agent", "tester/1", "Traceparent", "00-"+strings.Repeat("a", 32)+"-"+strings.Repeat("b", 16)+"-01", "X-Claude-Code-Session-Id", "sess")
	if got.status != 200 || !strings.Contains(got.body, `"new_field":{"a":[1]}`) || !strings.Contains(got.body, `{"type":"new_block","x":1}`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if body["model"] != "claude-3-5-haiku-20241022" || body["new_param"] == nil {
		t.Errorf("upstream body: %v", body)
	}
	for name, want := range map[string]string{"Anthropic-Beta": "some-beta-2026", "Anthropic-Version": "2024-01-01", "X-Api-Key": "sk-ant-secret", "Authorization": "", "Cookie": "", "X-Forwarded-For": ""} {
		if v := seen.Get(name); v != want {
			t.Errorf("upstream %s: got %q, want %q", name, v, want)
		}
	}
	e := r.only()
	if e.Erasable.Client != "tester/1" || e.Erasable.Session != "sess" || e.Erasable.Trace != strings.Repeat("a", 32) || e.AskedModel != "anthropic/claude-3-5-haiku-20241022" || e.Model != "claude-3-5-haiku-20241022" {
		t.Errorf("event: %+v %+v", e.RequestPublic, e.Erasable)
	}
}

func TestNoSecretIsEverShown(t *testing.T) {
	t.Parallel()
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(401)
		_, _ = w.Write([]byte(`{"error":{"message":"Incorrect API key provided: ` + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + `","type":"invalid_request_error"}}`))
	})
	r := newRig(t, rigConfig{upstream: upstream})
	got := r.post(chatPath, chat("gpt-4o", false))
	enc, err := domain.Encode(r.recorder.ended[0], domain.Salt{}, domain.Salt{})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"answer": got.body, "log": r.log.String(), "event": string(enc.AppendRecord(nil))} {
		if strings.Contains(text, "sk-openai-secret") || strings.Contains(text, testKey.Reveal()) {
			t.Errorf("the %s shows a secret: %s", name, text)
		}
	}
	if strings.Contains(r.log.String(), "Hello there") {
		t.Error("the log shows a prompt")
	}
}

func TestOtherEndpoints(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, path, body string
		endpoint         dialect.Endpoint
		free             bool
	}{
		{"responses", "/v1/responses", `{"model":"gpt-4o","input":"hello there"}`, dialect.Responses, false},
		{"responses streamed", "/v1/responses", `{"model":"gpt-4o","input":"hello there","stream":true}`, dialect.Responses, false},
		{"completions", "/v1/completions", `{"model":"sim/fast","prompt":"hello there"}`, dialect.Completions, false},
		{"completions streamed", "/v1/completions", `{"model":"sim/fast","prompt":"hello there","stream":true}`, dialect.Completions, false},
		{"embeddings", "/v1/embeddings", `{"model":"text-embedding-3-small","input":"hello there"}`, dialect.Embeddings, false},
		{"count_tokens", "/v1/messages/count_tokens", `{"model":"claude-3-5-haiku-20241022","messages":[{"role":"user","content":"x"}]}`, dialect.CountTokens, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{})
			got := r.post(test.path, test.body)
			if got.status != 200 {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			e := r.only()
			if e.Endpoint != string(test.endpoint) || e.Outcome != domain.Completed {
				t.Errorf("event: %+v", e.RequestPublic)
			}
			if zero := domain.Usage(e.Usage).IsZero(); zero != test.free || e.Charge.Amount.IsZero() != test.free {
				t.Errorf("usage %v, charge %v", e.Usage, e.Charge)
			}
			if want := domain.Usage(r.sim.Books().Reported); !test.free && domain.Usage(e.Usage) != want {
				t.Errorf("usage %v, want %v", e.Usage, want)
			}
		})
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{})
	get := func(path string, header ...string) answer {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("X-Api-Key", testKey.Reveal())
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return r.do(req)
	}
	list := get("/v1/models")
	for _, want := range []string{`"object":"list"`, `"has_more":false`, `"id":"gpt-4o"`, `"object":"model"`, `"owned_by":"openai"`, `"type":"model"`, `"display_name":"gpt-4o"`, `"created_at":"`} {
		if !strings.Contains(list.body, want) {
			t.Errorf("the list lacks %s", want)
		}
	}
	if strings.Contains(list.body, "other-model") || strings.Contains(list.body, "sim/fault") {
		t.Error("the list names what can't be called, or a fault")
	}
	if one := get("/v1/models/sim/fast"); one.status != 200 || !strings.Contains(one.body, `"id":"sim/fast"`) {
		t.Errorf("one model: %d %s", one.status, one.body)
	}
	if one := get("/v1/models/sim%2Ffast"); one.status != 200 || !strings.Contains(one.body, `"id":"sim/fast"`) {
		t.Errorf("one model, its slash escaped as SDKs do: %d %s", one.status, one.body)
	}
	if strings.Contains(list.body, "sim/w3") {
		t.Error("the list names a model for measurements")
	}
	if none := get("/v1/models/x", "Anthropic-Version", "2023-06-01"); none.status != 404 || !strings.Contains(none.body, `"not_found_error"`) {
		t.Errorf("an unknown model: %d %s", none.status, none.body)
	}
	if anon := get("/v1/models", "X-Api-Key", "wrong"); anon.status != 401 {
		t.Errorf("without a key: %d", anon.status)
	}
}
