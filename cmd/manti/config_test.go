package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"manti/proxy"
)

// Each setting is read into its field, and into no other.
func TestSettings(t *testing.T) {
	t.Parallel()
	on, off := true, false
	tests := []struct {
		name, value string
		want        func(*Config)
	}{
		{"MANTI_LISTEN", "[::1]:9000", func(c *Config) { c.Listen = "[::1]:9000" }},
		{"MANTI_ADMIN_LISTEN", ":9001", func(c *Config) { c.AdminListen = ":9001" }},
		{"MANTI_DATA", "/d", func(c *Config) { c.Data, c.Spool = "/d", "/d/spool" }},
		{"DATABASE_URL", "postgres://a@b/c", func(c *Config) { c.DatabaseURL = "postgres://a@b/c" }},
		{"MANTI_MIGRATE_URL", "postgres://o@b/c", func(c *Config) { c.MigrateURL = "postgres://o@b/c" }},
		{"MANTI_SECRET", "s", func(c *Config) { c.Secret = "s" }},
		{"MANTI_BOOTSTRAP_KEY", "k", func(c *Config) { c.BootstrapKey = "k" }},
		{"MANTI_PROVIDERS_OPENAI_API_KEY", "k", func(c *Config) { c.OpenAI.Key = "k" }},
		{"MANTI_PROVIDERS_OPENAI_BASE_URL", "http://o", func(c *Config) { c.OpenAI.BaseURL = "http://o" }},
		{"MANTI_PROVIDERS_ANTHROPIC_API_KEY", "k", func(c *Config) { c.Anthropic.Key = "k" }},
		{"MANTI_PROVIDERS_ANTHROPIC_BASE_URL", "http://a", func(c *Config) { c.Anthropic.BaseURL = "http://a" }},
		{"MANTI_SIM", "1", func(c *Config) { c.Sim = &on }},
		{"MANTI_SIM", "off", func(c *Config) { c.Sim = &off }},
		{"MANTI_EXTRA_CA", "/ca", func(c *Config) { c.ExtraCA = "/ca" }},
		{"MANTI_CORS_ORIGINS", "https://a.example, https://b.example,", func(c *Config) { c.CORSOrigins = []string{"https://a.example", "https://b.example"} }},
		{"MANTI_MAX_BODY_BYTES", "1", func(c *Config) { c.MaxBodyBytes = 1 }},
		{"MANTI_DRAIN_TIMEOUT", "90s", func(c *Config) { c.DrainTimeout = 90 * time.Second }},
		{"MANTI_CALLER_GONE", "cancel", func(c *Config) { c.CallerGone = proxy.Cancel }},
		{"MANTI_CALLER_GONE", "drain", func(c *Config) { c.CallerGone = proxy.Drain }},
		{"MANTI_UPSTREAM_HEADER_TIMEOUT", "1m", func(c *Config) { c.HeaderTimeout = time.Minute }},
		{"MANTI_UPSTREAM_IDLE_TIMEOUT", "2m", func(c *Config) { c.IdleTimeout = 2 * time.Minute }},
		{"MANTI_AUTH_MAX_STALE", "1h", func(c *Config) { c.MaxStale = time.Hour }},
		{"MANTI_REPLICA", "r", func(c *Config) { c.Replica = "r" }},
		{"MANTI_DURABILITY", "postgres", func(c *Config) { c.Durability = "postgres" }},
		{"MANTI_SPOOL", "/s", func(c *Config) { c.Spool = "/s" }},
		{"MANTI_SPOOL_MAX_BYTES", "134217728", func(c *Config) { c.SpoolMaxBytes = 128 << 20 }},
		{"MANTI_SPOOL_KEEP", "1h30m", func(c *Config) { c.SpoolKeep = 90 * time.Minute }},
		{"MANTI_SEAL_KEY", "file:/k", func(c *Config) { c.SealKey = "file:/k" }},
		{"MANTI_SEAL_OLD_KEYS", "a,b", func(c *Config) { c.SealOldKeys = "a,b" }},
		{"MANTI_ORIGIN", "o", func(c *Config) { c.Origin = "o" }},
		{"MANTI_CHECKPOINTS", "/c", func(c *Config) { c.Checkpoints = "/c" }},
		{"MANTI_POLL_ONLY", "true", func(c *Config) { c.PollOnly = true }},
		{"MANTI_LOG_FORMAT", "text", func(c *Config) { c.LogFormat = "text" }},
		{"MANTI_LOG_LEVEL", "warn", func(c *Config) { c.LogLevel = "warn" }},
		{"MANTI_PG_BIN", "/p", func(c *Config) { c.PGBin = "/p" }},
		{"MANTI_PG_REPOSITORY", "http://m", func(c *Config) { c.PGRepository = "http://m" }},
	}
	for _, s := range settings() {
		if !slices.ContainsFunc(tests, func(test struct {
			name, value string
			want        func(*Config)
		}) bool {
			return test.name == s.name
		}) {
			t.Errorf("%s has no test", s.name)
		}
	}
	usual, err := loadConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.value, func(t *testing.T) {
			t.Parallel()
			got, err := loadConfig([]string{test.name + "=" + test.value})
			if err != nil {
				t.Fatal(err)
			}
			want := usual
			test.want(&want)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(Config{})); diff != "" {
				t.Errorf("the configuration differs (-want +got):\n%s", diff)
			}
		})
		t.Run(test.name+" left empty", func(t *testing.T) {
			t.Parallel()
			got, err := loadConfig([]string{test.name + "="})
			if diff := cmp.Diff(usual, got, cmp.AllowUnexported(Config{})); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A value that can't be meant is an error that names its setting, and all of
// them are named at once.
func TestSettingsRefused(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"MANTI_SIM":                     {"2", "maybe"},
		"MANTI_POLL_ONLY":               {"always"},
		"MANTI_MAX_BODY_BYTES":          {"0", "-1", "32MiB", "1e6", "99999999999999999999"},
		"MANTI_SPOOL_MAX_BYTES":         {"0", "8G", "134217727"},
		"MANTI_DRAIN_TIMEOUT":           {"0s", "-1s", "30", "soon"},
		"MANTI_UPSTREAM_HEADER_TIMEOUT": {"0"},
		"MANTI_UPSTREAM_IDLE_TIMEOUT":   {"x"},
		"MANTI_AUTH_MAX_STALE":          {"15"},
		"MANTI_SPOOL_KEEP":              {"3d"},
		"MANTI_CALLER_GONE":             {"Drain", "wait"},
		"MANTI_LOG_FORMAT":              {"JSON", "xml"},
		"MANTI_LOG_LEVEL":               {"trace"},
		"MANTI_LISTENN":                 {"x", ""},
		"MANTI_":                        {"x"},
	} {
		for _, value := range values {
			_, err := loadConfig([]string{name + "=" + value, "MANTI_ALSO_WRONG=1"})
			if err == nil || !strings.Contains(err.Error(), name+": ") || !strings.Contains(err.Error(), "MANTI_ALSO_WRONG") {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
	for _, other := range []string{"MANTI_KEY=x", "MANTI_TEST_DATABASE_URL=x", "PATH=/bin", "no equals sign"} {
		if _, err := loadConfig([]string{other}); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// Without a word from anybody, data go where the system wants them, and the
// simulator serves until a provider is set up.
func TestDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := loadConfig([]string{"HOME=/home/ann"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DrainTimeout != 30*time.Second || cfg.OpenAI.BaseURL != "https://api.openai.com/v1" || cfg.Anthropic.BaseURL != "https://api.anthropic.com" || !cfg.simulated() {
		t.Errorf("the defaults are %+v", cfg)
	}
	if os.Geteuid() != 0 {
		for _, test := range []struct{ env, want string }{
			{"HOME=/home/ann", "/home/ann/.local/share/manti"},
			{"XDG_DATA_HOME=/data", "/data/manti"},
			{"XDG_DATA_HOME=relative", "manti-data"},
			{"", "manti-data"},
		} {
			if cfg, err := loadConfig([]string{test.env}); err != nil || cfg.Data != test.want {
				t.Errorf("%s: data go to %s, %v, want %s", test.env, cfg.Data, err, test.want)
			}
		}
	} else if cfg.Data != "/var/lib/manti" {
		t.Errorf("root's data go to %s", cfg.Data)
	}
	if cfg, err := loadConfig([]string{"container=podman"}); err != nil || cfg.Listen != ":8080" {
		t.Errorf("in a container it listens on %s, %v", cfg.Listen, err)
	}
	for env, want := range map[string]bool{
		"MANTI_PROVIDERS_OPENAI_API_KEY=k": false, "MANTI_PROVIDERS_ANTHROPIC_API_KEY=k": false,
		"MANTI_PROVIDERS_OPENAI_API_KEY=k MANTI_SIM=1": true, "MANTI_SIM=0": false, "MANTI_PROVIDERS_OPENAI_BASE_URL=http://x": true,
	} {
		if cfg, err := loadConfig(strings.Fields(env)); err != nil || cfg.simulated() != want {
			t.Errorf("%s: simulated %t, %v", env, cfg.simulated(), err)
		}
	}
}

// The file .env is below the environment; one that can't be read is named, and
// nothing of it shown.
func TestDotEnv(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# ours\nMANTI_REPLICA=file\nexport MANTI_LOG_LEVEL='warn'\nOTHER=x\n")
	cfg, err := loadConfig([]string{"MANTI_REPLICA=environment"})
	if err != nil || cfg.Replica != "environment" || cfg.LogLevel != "warn" {
		t.Errorf("%+v, %v", cfg, err)
	}
	write("MANTI_REPLICAA=x\n")
	if _, err := loadConfig(nil); err == nil || !strings.Contains(err.Error(), "MANTI_REPLICAA") {
		t.Errorf("a misspelt setting in .env: %v", err)
	}
	write("MANTI_SECRET=hunter2\nhunter3 on a line\n")
	if _, err := loadConfig(nil); err == nil || !strings.Contains(err.Error(), ".env") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("a file that is none: %v", err)
	}
}

// Whoever prints a configuration shows no secret.
func TestConfigHidesSecrets(t *testing.T) {
	t.Parallel()
	cfg, err := loadConfig([]string{
		"DATABASE_URL=postgres://manti:hunter2@db/manti", "MANTI_MIGRATE_URL=postgres://owner:hunter2@db/manti", "MANTI_SECRET=hunter2",
		"MANTI_BOOTSTRAP_KEY=hunter2", "MANTI_PROVIDERS_OPENAI_API_KEY=hunter2", "MANTI_PROVIDERS_ANTHROPIC_API_KEY=hunter2",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, cfg); strings.Contains(text, "hunter2") {
			t.Errorf("%s shows %s", format, text)
		}
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{"127.0.0.1:0": "127.0.0.1", "0.0.0.0:0": "127.0.0.1", ":0": "127.0.0.1"} {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		got := reachable(l.Addr())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if conn := want + got[strings.LastIndex(got, ":"):]; got != conn {
			t.Errorf("%s is reached at %s, want %s", listen, got, conn)
		}
	}
	for listen, want := range map[string]string{"127.0.0.1:80": "http://127.0.0.1:80", ":8080": "http://127.0.0.1:8080", "[::]:1": "http://127.0.0.1:1", "host:2": "http://host:2"} {
		if got, err := localURL(listen); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", listen, got, err, want)
		}
	}
	if got, err := localURL("nothing"); err == nil {
		t.Errorf("an address that is none: %s", got)
	}
}
