package main_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"manti/db/dbtest"
)

// got is what a GET with a key answered.
type got struct {
	status int
	header http.Header
	body   string
}

func get(t testing.TB, p *process, path, key string) got {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Header, string(body)}
}

// write puts a text into a file of its own.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A gateway without the signer key gives receipts of what another process has
// sealed; the receipt convinces whoever has the verifier key, and nobody else.
func TestReceiptFromAKeylessGateway(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	env := provider.env().onDatabase(database.URL())
	p := serve(t, folder(t), env).ready()
	if ready := get(t, p, "/readyz", ""); !strings.Contains(ready.body, "has no MANTI_SEAL_KEY") {
		t.Errorf("readyz: %+v", ready)
	}
	p.poll("the state of the books in /readyz", func() bool {
		ready := get(t, p, "/readyz", "").body
		return strings.Contains(ready, "separation of roles: shared") && strings.Contains(ready, "nightly check: ")
	})
	s := call(t.Context(), "http://"+p.addr, testKey, ask{quick.path, quickModel, false}, "prove me")
	path := "/v1/receipts/" + s.id
	awaitQuery(t, database.Pool(t, ""), "the call to be in the ledger", `SELECT EXISTS (SELECT FROM ledger.ids WHERE id = $1)`, s.id)
	if r := get(t, p, path, testKey); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, "sealed") {
		t.Errorf("before it is sealed: %+v", r)
	}

	keygen := command(t, launch{args: []string{"seal", "keygen", "--origin", "example.com/e2e"}})
	sealer := env.with("MANTI_SEAL_KEY", "file:"+write(t, keygen.out), "MANTI_SECRET", "", "MANTI_CHECKPOINTS", folder(t))
	verifier := strings.TrimSpace(manti(t, sealer, "seal", "key"))
	if keygen.status != 0 || !strings.Contains(keygen.err, verifier) || !strings.HasPrefix(verifier, "example.com/e2e+") {
		t.Errorf("keygen says %q, key %q", keygen.err, verifier)
	}
	if out := manti(t, sealer, "seal", "--once"); !strings.HasPrefix(out, "Sealed: checkpoint of example.com/e2e") {
		t.Errorf("seal --once: %s", out)
	}

	r := get(t, p, path, testKey)
	if r.status != http.StatusOK {
		t.Fatalf("receipt: %+v", r)
	}
	if out := manti(t, nil, "verify", "--receipt", write(t, r.body), "--key", verifier); !strings.HasPrefix(out, "The receipt is genuine.") || !strings.Contains(out, s.id) || strings.Contains(out, `"cost"`) {
		t.Errorf("verify: %s", out)
	}
	stranger := command(t, launch{args: []string{"seal", "keygen", "--origin", "example.com/e2e"}})
	for name, v := range map[string]result{
		"other key": command(t, launch{args: []string{"verify", "--receipt", write(t, r.body), "--key", regexp.MustCompile(`example\S+`).FindString(stranger.err)}}),
		"forged":    command(t, launch{args: []string{"verify", "--receipt", write(t, strings.Replace(r.body, "\nindex ", "\nindex 1", 1)), "--key", verifier}}),
	} {
		if v.status != 1 || !strings.Contains(v.err, "proves nothing") || v.out != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if r := get(t, p, path, ""); r.status != http.StatusUnauthorized {
		t.Errorf("without a key: %+v", r)
	}
	if r := get(t, p, "/v1/receipts/01900000-0000-7000-8000-000000000000", testKey); r.status != http.StatusNotFound {
		t.Errorf("of no call: %+v", r)
	}
	if c := get(t, p, "/v1/ledger/checkpoint", testKey); c.status != http.StatusOK || !strings.Contains(r.body, c.body) {
		t.Errorf("checkpoint: %+v", c)
	}

	// The operator gets the private part, to be checked in the same way.
	if out := manti(t, sealer, "receipt", s.id); out != r.body {
		t.Errorf("manti receipt prints %s, want %s", out, r.body)
	}
	dossier := manti(t, sealer, "receipt", "--private", s.id)
	if out := manti(t, nil, "verify", "--key", verifier, "--receipt", write(t, dossier)); !strings.Contains(out, `"cost"`) {
		t.Errorf("verify of the private part: %s", out)
	}
	forged := strings.Replace(dossier, `\"provider\":\"`, `\"provider\":\"x`, 1)
	if v := command(t, launch{args: []string{"verify", "--key", verifier, "--receipt", write(t, forged)}}); forged == dossier || v.status != 1 {
		t.Errorf("a forged private part: %+v", v)
	}
	p.stop()
}

// A gateway on its own Postgres makes a key and seals by itself, within ten
// seconds of each call.
func TestPrivatePostgresIsSealed(t *testing.T) {
	t.Parallel()
	data := folder(t)
	p := serve(t, data, startProvider(t).env().with("MANTI_BOOTSTRAP_KEY", testKey)).ready()
	s := call(t.Context(), "http://"+p.addr, testKey, ask{quick.path, quickModel, false}, "seal me")
	var r got
	p.poll("the call to be sealed", func() bool {
		r = get(t, p, "/v1/receipts/"+s.id, testKey)
		return r.status == http.StatusOK
	})
	verifier := strings.TrimSpace(manti(t, nil, "seal", "key", "--data", data))
	if k := get(t, p, "/v1/ledger/key", testKey); k.body != verifier+"\n" {
		t.Errorf("the server's key is %+v, want %s", k, verifier)
	}
	manti(t, nil, "verify", "--receipt", write(t, r.body), "--key", verifier)
	remembered, err := os.ReadFile(filepath.Join(data, "checkpoints", "checkpoint"))
	if err != nil || !strings.HasPrefix(string(remembered), "manti/") {
		t.Errorf("outside the database: %s %v", remembered, err)
	}
	if info, err := os.Stat(filepath.Join(data, "seal.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v %v", info, err)
	}
	p.poll("the gauges to say so", func() bool {
		metrics := get(t, p, "/metrics", "").body
		return strings.Contains(metrics, "\nmanti_seal_lag_events 0") && strings.Contains(metrics, "\nmanti_seal_refused 0") && strings.Contains(metrics, `manti_seal_passes_total{result="ok"}`)
	})
	p.stop()
}
