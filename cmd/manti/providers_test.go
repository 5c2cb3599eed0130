package main

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manti/proxy/dialect"
	"manti/proxy/host"
)

// callVia makes one call to the first host that a configuration sets up.
func callVia(t *testing.T, env ...string) (string, error) {
	t.Helper()
	cfg, err := loadConfig(env)
	if err != nil {
		t.Fatal(err)
	}
	up, err := openUpstreams(cfg)
	if err != nil {
		return "", err
	}
	defer up.close()
	resp, err := up.hosts[0].Do(t.Context(), &host.Call{Endpoint: dialect.ChatCompletions, Body: [][]byte{[]byte(`{}`)}})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// A provider behind a company's own certificate is reached with MANTI_EXTRA_CA,
// and not without.
func TestExtraCA(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "over TLS") }))
	defer server.Close()
	server.Config.ErrorLog = nil
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	provider := []string{"MANTI_PROVIDERS_OPENAI_API_KEY=k", "MANTI_PROVIDERS_OPENAI_BASE_URL=" + server.URL + "/v1"}
	if got, err := callVia(t, append(provider, "MANTI_EXTRA_CA="+file)...); err != nil || got != "over TLS" {
		t.Errorf("with the certificate: %q, %v", got, err)
	}
	if _, err := callVia(t, provider...); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without it: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{empty, "/does/not/exist"} {
		if _, err := callVia(t, append(provider, "MANTI_EXTRA_CA="+bad)...); err == nil || !strings.Contains(err.Error(), "MANTI_EXTRA_CA") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Calls to providers go through HTTP_PROXY; its password shows nowhere.
func TestHTTPProxy(t *testing.T) {
	var asked, credentials string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, credentials = r.URL.String(), r.Header.Get("Proxy-Authorization")
		_, _ = io.WriteString(w, "through the proxy")
	}))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", strings.Replace(proxy.URL, "://", "://user:pass-word@", 1))
	t.Setenv("NO_PROXY", "direct.test")
	provider := []string{"MANTI_PROVIDERS_OPENAI_API_KEY=k", "MANTI_PROVIDERS_OPENAI_BASE_URL=http://provider.test/v1"}
	got, err := callVia(t, provider...)
	if err != nil || got != "through the proxy" || asked != "http://provider.test/v1/chat/completions" || !strings.HasPrefix(credentials, "Basic ") {
		t.Errorf("got %q, %v; the proxy was asked for %q with %q", got, err, asked, credentials)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	l.Close()
	t.Setenv("HTTP_PROXY", "http://user:pass-word@"+gone)
	if _, err := callVia(t, provider...); err == nil || strings.Contains(err.Error(), "pass-word") {
		t.Errorf("a proxy that isn't there: %v", err)
	}
}
