package host_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/host"
	"manti/proxy/host/wire"
)

func TestDo(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		b, _ := io.ReadAll(r.Body)
		body = string(b)
	}))
	defer server.Close()
	client, err := wire.New(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tests := []struct {
		name     string
		dialect  dialect.Name
		base     string
		endpoint dialect.Endpoint
		header   http.Header
		path     string
		want     map[string]string
	}{
		{"openai", dialect.OpenAI, "/v1", dialect.ChatCompletions, nil, "/v1/chat/completions", map[string]string{"Authorization": "Bearer secret-key", "X-Api-Key": "", "Content-Type": "application/json", "Accept-Encoding": "identity"}},
		{"openai with a slash", dialect.OpenAI, "/v1/", dialect.Embeddings, http.Header{"Openai-Beta": {"x"}, "Cookie": {"c"}}, "/v1/embeddings", map[string]string{"Openai-Beta": "x", "Cookie": ""}},
		{"anthropic", dialect.Anthropic, "", dialect.Messages, nil, "/v1/messages", map[string]string{"X-Api-Key": "secret-key", "Authorization": "", "Anthropic-Version": "2023-06-01"}},
		{"anthropic with v1", dialect.Anthropic, "/v1", dialect.CountTokens, http.Header{"Anthropic-Version": {"v"}, "Anthropic-Beta": {"a", "b"}}, "/v1/messages/count_tokens", map[string]string{"Anthropic-Version": "v", "Anthropic-Beta": "a"}},
	}
	for _, test := range tests {
		h, err := host.New(host.Config{Provider: "p", Dialect: test.dialect, BaseURL: server.URL + test.base, Key: "secret-key", Client: client, UserAgent: "manti/test"})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.Do(t.Context(), &host.Call{Endpoint: test.endpoint, ID: domain.EventID{1}, Header: test.header, Body: [][]byte{[]byte(`{"a"`), []byte(`:1}`)}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got.URL.Path != test.path || body != `{"a":1}` {
			t.Errorf("%s: got %s with %s", test.name, got.URL.Path, body)
		}
		for name, want := range test.want {
			if v := got.Header.Get(name); v != want {
				t.Errorf("%s: %s: got %q, want %q", test.name, name, v, want)
			}
		}
		if got.Header.Get("X-Client-Request-Id") != (domain.EventID{1}).String() {
			t.Errorf("%s: the provider isn't told our id", test.name)
		}
	}
}

func TestHostsKeepTheirKey(t *testing.T) {
	t.Parallel()
	client, err := wire.New(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	h, err := host.New(host.Config{Provider: "p", Dialect: dialect.OpenAI, BaseURL: "http://127.0.0.1:1", Key: "secret-key", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(h.Redact([]byte("Incorrect API key provided: secret-key."))); strings.Contains(got, "secret-key") {
		t.Errorf("got %s", got)
	}
	if strings.Contains(h.Credential.String(), "secret") || h.Credential.IsZero() {
		t.Errorf("credential: %s", h.Credential)
	}
	_, err = host.New(host.Config{Provider: "p", Dialect: dialect.OpenAI, BaseURL: "http://user:pass-word@127.0.0.1:1", Key: "secret-key", Client: client})
	if err == nil || strings.Contains(err.Error(), "pass-word") {
		t.Errorf("a URL with a password: %v", err)
	}
}

func TestKeyVariable(t *testing.T) {
	t.Parallel()
	for provider, want := range map[string]string{"openai": "MANTI_PROVIDERS_OPENAI_API_KEY", "azure-eu.1": "MANTI_PROVIDERS_AZURE_EU_1_API_KEY"} {
		if got := host.KeyVariable(provider); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
