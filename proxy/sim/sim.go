package sim

import (
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a Provider. The zero value is a provider with the built-in models
// and no faults.
type Config struct {
	// Seed of everything that looks random.
	Seed uint64
	// Models are added to the built-in ones, or replace them, by name.
	Models map[string]Model
	// Key, if set, must come with every call, as Authorization: Bearer or
	// x-api-key.
	Key string
	// Faults is how many calls in a million suffer each fault. They add up to
	// a million at most.
	Faults map[Fault]int
	// KeepCalls keeps every call for Calls, some 400 bytes each, for ever.
	KeepCalls bool
	// Slow is what FaultSlow adds to the time to the first byte; 0 is 10 s.
	Slow time.Duration
}

// defaultSlow is longer than a caller is likely to wait unmoved, and shorter
// than its timeout.
const defaultSlow = 10 * time.Second

// Provider is a simulated provider. It is an http.Handler, serves a listener
// itself (Serve), and can be dialled in memory (Dial). It is safe for
// concurrent use. Inside a synctest bubble, make it there.
type Provider struct {
	models     map[string]Model
	key        string
	rates      []faultRate
	seed       uint64
	slow       time.Duration
	corpus     corpus
	filler     string // text of the load models
	castagnoli *crc32.Table

	number atomic.Uint64 // of calls accepted
	books  books

	mu     sync.Mutex
	seen   map[uint64]int         // guarded by mu: how often a body came, for "-once"
	conns  map[io.Closer]struct{} // guarded by mu: connections served
	closed bool                   // guarded by mu

	closing chan struct{} // closed by Close
	serving sync.WaitGroup
}

// New makes a Provider. It returns an error for a fault that there isn't, or
// rates that add up to more than all calls.
func New(cfg Config) (*Provider, error) {
	rates, unknown := sortRates(cfg.Faults)
	if len(unknown) > 0 {
		return nil, fmt.Errorf("sim: no fault named %q", unknown[0])
	}
	sum := 0
	for _, r := range rates {
		if r.perMillion < 0 {
			return nil, fmt.Errorf("sim: fault %q has a negative rate", r.fault)
		}
		sum += r.perMillion
	}
	if sum > 1_000_000 {
		return nil, fmt.Errorf("sim: faults strike %d calls in a million", sum)
	}
	models := BuiltIn()
	maps.Copy(models, cfg.Models)
	longest := 0
	for _, m := range models {
		longest = max(longest, m.Chunks*m.ChunkBytes)
	}
	p := &Provider{
		models: models, key: cfg.Key, rates: rates, seed: mix(cfg.Seed), slow: cfg.Slow,
		corpus: newCorpus(), filler: strings.Repeat("load ", longest/5+1),
		castagnoli: crc32.MakeTable(crc32.Castagnoli),
		seen:       map[uint64]int{}, conns: map[io.Closer]struct{}{}, closing: make(chan struct{}),
	}
	p.books.keep = cfg.KeepCalls
	if p.slow == 0 {
		p.slow = defaultSlow
	}
	return p, nil
}
