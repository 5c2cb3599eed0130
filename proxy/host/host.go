// Package host knows where and how a provider is reached: its URL, the paths of
// its endpoints, and how it is told who calls. What is said there is a
// dialect's business.
package host

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"manti/domain"
	"manti/proxy/dialect"
	"manti/proxy/host/wire"
)

// Config describes one way to reach a provider.
type Config struct {
	// Provider is the provider's name in the price book.
	Provider string
	Dialect  dialect.Name
	// BaseURL is where the API begins: https://api.openai.com/v1,
	// https://api.anthropic.com. Anthropic's may end in /v1 too.
	BaseURL string
	// Key is manti's own credential; empty for none.
	Key domain.Secret
	// Client makes the calls.
	Client *wire.Client
	// UserAgent names manti to the provider.
	UserAgent string
}

// Host is one way to reach a provider. It is immutable.
type Host struct {
	Provider   string
	Dialect    dialect.Name
	Credential domain.CredentialID

	origin *wire.Origin
	key    domain.Secret
	fixed  []wire.Field // sent with every call
}

// KeyVariable is the environment variable that sets a provider up.
func KeyVariable(provider string) string {
	return "MANTI_PROVIDERS_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(provider)) + "_API_KEY"
}

// anthropicVersion is sent where a caller names none: the only version there
// is (https://docs.anthropic.com/en/api/versioning).
const anthropicVersion = "2023-06-01"

// New checks the configuration. It doesn't connect.
func New(cfg Config) (*Host, error) {
	base := strings.TrimRight(cfg.BaseURL, "/")
	if cfg.Dialect == dialect.Anthropic {
		base = strings.TrimSuffix(base, "/v1")
	}
	origin, err := cfg.Client.Origin(wire.OriginConfig{URL: base})
	if err != nil {
		return nil, fmt.Errorf("base URL of provider %s: %w", cfg.Provider, err)
	}
	h := &Host{Provider: cfg.Provider, Dialect: cfg.Dialect, Credential: credential(cfg), origin: origin, key: cfg.Key}
	h.fixed = []wire.Field{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "Accept-Encoding", Value: "identity"},
		{Name: "User-Agent", Value: cfg.UserAgent},
	}
	if cfg.Key != "" {
		h.fixed = append(h.fixed, authorization(cfg.Dialect, cfg.Key))
	}
	return h, nil
}

// credential names the key in events without saying anything of it.
func credential(cfg Config) domain.CredentialID {
	if cfg.Key == "" {
		return domain.CredentialID{}
	}
	sum := sha256.Sum256([]byte("manti credential\x00" + cfg.Provider + "\x00" + cfg.Key.Reveal()))
	id := domain.CredentialID(sum[:16])
	id[6] = 0x80 | id[6]&0x0f // UUIDv8
	id[8] = 0x80 | id[8]&0x3f
	return id
}

func authorization(d dialect.Name, key domain.Secret) wire.Field {
	if d == dialect.Anthropic {
		return wire.Field{Name: "x-api-key", Value: key.Reveal()}
	}
	return wire.Field{Name: "Authorization", Value: "Bearer " + key.Reveal()}
}

// Call is one call to a host.
type Call struct {
	Endpoint dialect.Endpoint
	Stream   bool
	// ID is manti's id of the request; the provider may log it.
	ID domain.EventID
	// Header is the caller's, of which the dialect's own fields are passed on;
	// nil if the caller speaks another dialect.
	Header http.Header
	// Body as wire.Request's.
	Body [][]byte
}

// Do makes the call. The errors are wire's.
func (h *Host) Do(ctx context.Context, c *Call) (*wire.Response, error) {
	fields := make([]wire.Field, 0, 12)
	fields = append(fields, h.fixed...)
	accept := "application/json"
	if c.Stream {
		accept = "text/event-stream"
	}
	fields = append(fields, wire.Field{Name: "Accept", Value: accept}, wire.Field{Name: "X-Client-Request-Id", Value: c.ID.String()})
	fields = appendPassed(fields, h.Dialect, c.Header)
	return h.origin.Do(ctx, &wire.Request{Method: http.MethodPost, Path: path(c.Endpoint), Fields: fields, Body: c.Body})
}

// Name is the host's name and port.
func (h *Host) Name() string { return h.origin.Host() }

// Redact takes the host's own key out of what a provider said.
func (h *Host) Redact(b []byte) []byte {
	if len(h.key) < 8 || !strings.Contains(string(b), h.key.Reveal()) {
		return b
	}
	return []byte(strings.ReplaceAll(string(b), h.key.Reveal(), "redacted"))
}

// passed are the request fields of each dialect that say how the provider must
// read or answer the call.
var passed = map[dialect.Name][]string{
	dialect.OpenAI:    {"Openai-Beta", "Idempotency-Key"},
	dialect.Anthropic: {"Anthropic-Version", "Anthropic-Beta", "Idempotency-Key"},
}

func appendPassed(fields []wire.Field, d dialect.Name, header http.Header) []wire.Field {
	for _, name := range passed[d] {
		for _, v := range header[name] {
			fields = append(fields, wire.Field{Name: name, Value: v})
		}
	}
	if d == dialect.Anthropic && len(header["Anthropic-Version"]) == 0 {
		fields = append(fields, wire.Field{Name: "Anthropic-Version", Value: anthropicVersion})
	}
	return fields
}

func path(e dialect.Endpoint) string {
	switch e {
	case dialect.ChatCompletions:
		return "/chat/completions"
	case dialect.Responses:
		return "/responses"
	case dialect.Completions:
		return "/completions"
	case dialect.Embeddings:
		return "/embeddings"
	case dialect.CountTokens:
		return "/v1/messages/count_tokens"
	case dialect.Messages:
		return "/v1/messages"
	}
	panic("host: unknown endpoint " + string(e))
}
