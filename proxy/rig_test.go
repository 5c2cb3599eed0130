package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/proxy"
	"manti/proxy/auth"
	"manti/proxy/dialect"
	"manti/proxy/host"
	"manti/proxy/host/wire"
	"manti/proxy/route"
	"manti/proxy/sim"
)

// recorder is a Recorder in memory that can fail.
type recorder struct {
	mu       sync.Mutex
	started  []domain.Started // guarded by mu
	ended    []domain.Event   // guarded by mu
	synced   map[uint64]bool  // guarded by mu
	startErr error
	syncErr  error
	endErr   error
	onEnd    func()
}

func (r *recorder) Start(s domain.Started) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.startErr != nil {
		return 0, r.startErr
	}
	r.started = append(r.started, s)
	return uint64(len(r.started)), nil
}

func (r *recorder) Kick(uint64) {}

func (r *recorder) Sync(_ context.Context, ticket uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.synced == nil {
		r.synced = map[uint64]bool{}
	}
	r.synced[ticket] = true
	return r.syncErr
}

func (r *recorder) End(e domain.Event) error {
	if r.onEnd != nil {
		r.onEnd()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endErr != nil {
		return r.endErr
	}
	if _, err := domain.Encode(e, domain.Salt{}, domain.Salt{}); err != nil {
		return err
	}
	r.ended = append(r.ended, e)
	return nil
}

// rig is a gateway between a caller and a provider.
type rig struct {
	t        testing.TB
	gateway  *proxy.Gateway
	recorder *recorder
	sim      *sim.Provider
	log      *bytes.Buffer
	handler  http.Handler
}

const testKey = domain.Secret("sk-manti-test-0123456789")

var pepper = auth.Pepper{7}

type rigConfig struct {
	edit func(*proxy.Config)
	// upstream stands in for the simulator, as the provider of every model.
	upstream http.Handler
	book     *domain.PriceBook // nil is testBook
	sim      sim.Config
	wire     wire.Config
}

// newRig makes a gateway in front of a provider in memory. The provider serves
// every model in both dialects ("sim/…"), gpt-4o in OpenAI's only and
// claude-3-5-haiku-20241022 in Anthropic's only.
func newRig(t testing.TB, cfg rigConfig) *rig {
	t.Helper()
	r := &rig{t: t, recorder: &recorder{}, log: &bytes.Buffer{}}
	var err error
	if cfg.sim.Models == nil { // none of the latencies that these names stand for
		fast := sim.BuiltIn()["fast"]
		cfg.sim.Models = map[string]sim.Model{"gpt-4o": fast, "claude-3-5-haiku-20241022": fast, "gpt": fast, "claude": fast}
	}
	if r.sim, err = sim.New(cfg.sim); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.sim.Close() })
	cfg.wire.Dial = r.sim.Dial
	if cfg.upstream != nil {
		server := httptest.NewServer(cfg.upstream)
		t.Cleanup(server.Close)
		cfg.wire.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		}
	}
	client, err := wire.New(cfg.wire)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var hosts []*host.Host
	for _, h := range []host.Config{
		{Provider: "sim", Dialect: dialect.OpenAI, BaseURL: "http://sim.test/v1"},
		{Provider: "sim", Dialect: dialect.Anthropic, BaseURL: "http://sim.test"},
		{Provider: "openai", Dialect: dialect.OpenAI, BaseURL: "http://openai.test/v1", Key: "sk-openai-secret"},
		{Provider: "anthropic", Dialect: dialect.Anthropic, BaseURL: "http://anthropic.test", Key: "sk-ant-secret"},
	} {
		h.Client, h.UserAgent = client, "manti/test"
		made, err := host.New(h)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, made)
	}
	conf := proxy.Config{Recorder: r.recorder, Pepper: pepper, Log: slog.New(slog.NewTextHandler(&lockedWriter{w: r.log}, nil)), Registerer: prometheus.NewRegistry(), Replica: "test"}
	if cfg.edit != nil {
		cfg.edit(&conf)
	}
	r.gateway = proxy.New(conf)
	var none auth.Keys
	keys := none.With([]auth.Change{{Key: domain.KeyID{1}, Hash: pepper.Hash(testKey), Principal: &auth.Principal{Org: domain.OrgID{2}, Project: domain.ProjectID{3}, Key: domain.KeyID{1}}}})
	if cfg.book == nil {
		cfg.book = testBook()
	}
	r.gateway.SetSnapshot(&proxy.Snapshot{Keys: keys, Routes: route.New("routes-1", cfg.book, hosts), At: time.Now()})
	r.handler = r.gateway.Handler()
	return r
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// testBook prices every token of input at 1, of output at 2 and of cache reads at 0.5
// per million, so that a test can tell what was billed as what.
func testBook() *domain.PriceBook {
	rates := domain.Rates{"input": decimal.New(1, 0), "output": decimal.New(2, 0), "cache_read": decimal.New(5, -1)}
	price := []domain.ModelPrice{{Cost: domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: rates}}}}}
	b := &domain.PriceBook{Version: domain.EventID{9}}
	add := func(provider, name string, kind domain.ModelKind) {
		b.Models = append(b.Models, domain.ModelCard{Provider: provider, Name: name, Kind: kind, ContextLimit: 128000, OutputLimit: 4096, Tools: true, StructuredOutput: true, Prices: price})
	}
	for _, m := range []string{"fast", "chat", "w3", "w5", "reasoner"} {
		add("sim", "sim/"+m, domain.ChatModel)
	}
	for _, f := range append(sim.Faults(), "400", "401", "429", "500", "529") {
		add("sim", "sim/fault-"+string(f), domain.ChatModel)
		add("openai", "gpt-fault-"+string(f), domain.ChatModel)
		add("anthropic", "claude-fault-"+string(f), domain.ChatModel)
	}
	add("sim", "sim/embed", domain.EmbeddingModel)
	add("openai", "gpt-4o", domain.ChatModel)
	add("openai", "text-embedding-3-small", domain.EmbeddingModel)
	add("anthropic", "claude-3-5-haiku-20241022", domain.ChatModel)
	add("elsewhere", "other-model", domain.ChatModel)
	return b
}

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	body   string
}

// post makes a call in process.
func (r *rig) post(path, body string, header ...string) answer {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+testKey.Reveal())
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return r.do(req)
}

func (r *rig) do(req *http.Request) answer {
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value that net/http documents
				panic(p)
			}
		}()
		r.handler.ServeHTTP(w, req)
	}()
	return answer{w.Code, w.Header(), w.Body.String()}
}

// only is the one event of the one call, and checks what holds for every call.
func (r *rig) only() *domain.RequestCompleted {
	r.t.Helper()
	r.check()
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	if len(r.recorder.ended) != 1 {
		r.t.Fatalf("got %d events, want 1", len(r.recorder.ended))
	}
	return r.recorder.ended[0].Body.(*domain.RequestCompleted)
}

// check holds the books against each other: each start has one end, each end a
// start, and the simulator began no call that isn't there.
func (r *rig) check() {
	r.t.Helper()
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	seen := map[domain.EventID]int{}
	for _, s := range r.recorder.started {
		seen[s.ID]++
	}
	for _, e := range r.recorder.ended {
		seen[e.ID] += 10
		body := e.Body.(*domain.RequestCompleted)
		if body.Charge.Amount.GreaterThan(r.held(e.ID)) {
			r.t.Errorf("request %s was charged %s, more than its bound %s", e.ID, body.Charge.Amount, r.held(e.ID))
		}
	}
	for id, n := range seen {
		if n != 11 {
			r.t.Errorf("request %s has %d starts and %d ends", id, n%10, n/10)
		}
	}
}

func (r *rig) held(id domain.EventID) decimal.Decimal {
	for _, s := range r.recorder.started {
		if s.ID == id {
			return s.Held
		}
	}
	return decimal.Zero
}

func (r *rig) events() int {
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	return len(r.recorder.ended)
}

var errDisk = errors.New("disk on fire")
