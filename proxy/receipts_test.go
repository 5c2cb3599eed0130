package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"manti/domain"
	"manti/proxy"
	"manti/proxy/auth"
)

// proofs is Receipts in memory.
type proofs struct {
	owners map[domain.EventID]proxy.CallOwner
	err    error
	keys   []string
}

func (p proofs) Receipt(_ context.Context, id domain.EventID, mayRead func(proxy.CallOwner) bool) (proxy.Receipt, error) {
	owner, ok := p.owners[id]
	if !ok || !mayRead(owner) {
		return proxy.Receipt{}, &domain.Error{Code: domain.CodeNotFound, Message: "There is no such call."}
	}
	return proxy.Receipt{Text: []byte("proof of " + id.String()), SupersededBy: domain.EventID{8}}, p.err
}

func (p proofs) Checkpoint(context.Context) ([]byte, error) { return []byte("checkpoint"), p.err }

func (p proofs) Tile(_ context.Context, path string) ([]byte, error) {
	return []byte("tile " + path), p.err
}

func (p proofs) Keys() []string { return p.keys }

func (r *rig) get(path string, header ...string) answer {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.Header.Set("Authorization", "Bearer "+testKey.Reveal())
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return r.do(req)
}

func newProofRig(t *testing.T, p proofs) *rig {
	t.Helper()
	return newRig(t, rigConfig{edit: func(c *proxy.Config) { c.Receipts = p }})
}

// The rig's key is 1 of project 3 of organisation 2.
func TestReceiptIsForThoseWhoMadeTheCall(t *testing.T) {
	t.Parallel()
	id := domain.EventID{5}
	tests := []struct {
		name   string
		owner  proxy.CallOwner
		reader auth.Principal
		want   int
	}{
		{"the key", proxy.CallOwner{Org: domain.OrgID{2}, Project: domain.ProjectID{3}, Key: domain.KeyID{1}}, auth.Principal{}, 200},
		{"another key of the project", proxy.CallOwner{Org: domain.OrgID{2}, Project: domain.ProjectID{3}, Key: domain.KeyID{7}}, auth.Principal{}, 200},
		{"another project", proxy.CallOwner{Org: domain.OrgID{2}, Project: domain.ProjectID{4}, Key: domain.KeyID{7}}, auth.Principal{}, 404},
		{"another organisation", proxy.CallOwner{Org: domain.OrgID{9}, Project: domain.ProjectID{3}, Key: domain.KeyID{7}}, auth.Principal{}, 404},
		{"of nobody", proxy.CallOwner{}, auth.Principal{}, 404},
		{"a key of the organisation", proxy.CallOwner{Org: domain.OrgID{2}, Project: domain.ProjectID{4}, Key: domain.KeyID{7}}, auth.Principal{Org: domain.OrgID{2}, Key: domain.KeyID{1}}, 200},
		{"a key of another organisation", proxy.CallOwner{Org: domain.OrgID{2}, Project: domain.ProjectID{4}, Key: domain.KeyID{7}}, auth.Principal{Org: domain.OrgID{6}, Key: domain.KeyID{1}}, 404},
		{"a key of nothing", proxy.CallOwner{}, auth.Principal{Key: domain.KeyID{1}}, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newProofRig(t, proofs{owners: map[domain.EventID]proxy.CallOwner{id: tt.owner}})
			if tt.reader != (auth.Principal{}) {
				s := *r.gateway.Snapshot()
				s.Keys = new(auth.Keys).With([]auth.Change{{Key: tt.reader.Key, Hash: pepper.Hash(testKey), Principal: &tt.reader}})
				r.gateway.SetSnapshot(&s)
			}
			got := r.get("/v1/receipts/" + id.String())
			if got.status != tt.want {
				t.Errorf("got %d %s, want %d", got.status, got.body, tt.want)
			}
			if tt.want == 200 && (got.body != "proof of "+id.String() || got.header.Get("Manti-Superseded-By") != domain.EventID{8}.String()) {
				t.Errorf("got %q, %v", got.body, got.header)
			}
		})
	}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	r := newProofRig(t, proofs{keys: []string{"new", "old"}})
	for path, want := range map[string]string{"/v1/ledger/checkpoint": "checkpoint", "/v1/ledger/key": "new\nold\n", "/v1/ledger/tile/0/x001/234.p/5": "tile 0/x001/234.p/5"} {
		if got := r.get(path); got.status != 200 || got.body != want {
			t.Errorf("%s: got %d %q, want %q", path, got.status, got.body, want)
		}
		if got := r.get(path, "Authorization", "Bearer nobody"); got.status != 401 {
			t.Errorf("%s without a key: got %d %q", path, got.status, got.body)
		}
	}
	if got := newProofRig(t, proofs{}).get("/v1/ledger/key"); got.status != 404 {
		t.Errorf("without a known key: got %d %q", got.status, got.body)
	}
	if got := newRig(t, rigConfig{}).get("/v1/ledger/checkpoint"); got.status != 404 {
		t.Errorf("without receipts: got %d %q", got.status, got.body)
	}
}

// What goes wrong is said in the caller's dialect; what isn't the caller's
// affair is in the log alone.
func TestReceiptErrors(t *testing.T) {
	t.Parallel()
	id := domain.EventID{5}
	p := proofs{owners: map[domain.EventID]proxy.CallOwner{id: {Org: domain.OrgID{2}, Project: domain.ProjectID{3}}}}
	path := "/v1/receipts/" + id.String()

	p.err = &domain.Error{Code: domain.CodeUnavailable, Message: "Not sealed yet.", RetryAfter: 4 * time.Second}
	got := newProofRig(t, p).get(path, "Anthropic-Version", "2023-06-01")
	if got.status != 503 || got.header.Get("Retry-After") != "4" || !strings.HasPrefix(got.body, `{"type":"error"`) {
		t.Errorf("not sealed: got %d %v %s", got.status, got.header, got.body)
	}
	p.err = errors.New("tile 7 is broken")
	r := newProofRig(t, p)
	if got := r.get(path); got.status != 500 || strings.Contains(got.body, "tile") || !strings.Contains(r.log.String(), "tile 7 is broken") {
		t.Errorf("broken: got %d %s, log %s", got.status, got.body, r.log)
	}
	for _, id := range []string{"x", strings.Repeat("0", 36), domain.EventID{6}.String()} {
		if got := r.get("/v1/receipts/" + id); got.status != 404 || !strings.HasPrefix(got.body, `{"error"`) {
			t.Errorf("%s: got %d %s", id, got.status, got.body)
		}
	}
	if r.events() != 0 {
		t.Error("a receipt is in the ledger")
	}
}

func TestReadyzHasNotes(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{edit: func(c *proxy.Config) { c.Notes = func() []string { return []string{"not sealing"} } }})
	if got := r.get("/readyz"); got.status != 200 || got.body != `{"ready":true,"notes":["not sealing"]}`+"\n" {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
