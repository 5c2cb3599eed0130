package main_test

import (
	"context"
	"net"
	"testing"
	"time"

	"manti/db"
	"manti/proxy/sim"
)

// provider is the simulator behind a listener of its own: it stands for OpenAI
// and for Anthropic, and its books outlive the process under test.
type provider struct {
	*sim.Provider
	url string
}

// providerKey is what manti must send to it.
const providerKey = "sk-upstream-3f9d1c5b7a"

// Models that callers ask for, by how the tests' provider behaves.
const (
	quickModel  = "gpt-4o-mini"                // no latency
	steadyModel = "gpt-4o"                     // a stream of some 200 ms
	claudeModel = "claude-3-5-haiku-20241022"  // the same, in Anthropic's dialect
	slowModel   = "gpt-4-turbo"                // a stream of a few seconds
	longModel   = "gpt-4.1"                    // a stream of 12 s, longer than any timeout of the listener
	endlessName = "claude-3-5-sonnet-20241022" // a stream of minutes
)

func startProvider(t testing.TB) *provider {
	t.Helper()
	steady := sim.Model{FirstByte: 20 * time.Millisecond, Gap: 5 * time.Millisecond, Output: 40}
	p, err := sim.New(sim.Config{Key: providerKey, KeepCalls: true, Models: map[string]sim.Model{
		quickModel:  {Output: 20},
		steadyModel: steady, claudeModel: steady,
		slowModel:   {FirstByte: 10 * time.Millisecond, Gap: 20 * time.Millisecond, Chunks: 150, ChunkBytes: 16},
		longModel:   {Gap: 200 * time.Millisecond, Chunks: 60, ChunkBytes: 16},
		endlessName: {FirstByte: 10 * time.Millisecond, Gap: 100 * time.Millisecond, Output: 3000},
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		_ = p.Close() // always nil
		if err := <-served; err != nil {
			t.Errorf("provider: %v", err)
		}
	})
	return &provider{Provider: p, url: "http://" + l.Addr().String()}
}

// env sets manti up to use it.
func (p *provider) env() environment {
	return environment{
		"MANTI_PROVIDERS_OPENAI_API_KEY": providerKey, "MANTI_PROVIDERS_OPENAI_BASE_URL": p.url + "/v1",
		"MANTI_PROVIDERS_ANTHROPIC_API_KEY": providerKey, "MANTI_PROVIDERS_ANTHROPIC_BASE_URL": p.url,
	}
}

const (
	testSecret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	testKey    = "sk-bootstrap-key-of-the-tests-0001"
)

// onDatabase adds what a server needs to serve calls from a given database.
func (e environment) onDatabase(url db.URL) environment {
	return e.with("DATABASE_URL", url.Reveal(), "MANTI_SECRET", testSecret, "MANTI_BOOTSTRAP_KEY", testKey)
}
