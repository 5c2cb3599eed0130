package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joho/godotenv"

	"manti/db"
	"manti/domain"
	"manti/proxy"
)

// Config is everything that can be set, from flags, the environment and a file
// .env, the earlier of these winning. The zero value works. settings is its
// manual.
type Config struct {
	Listen        string
	AdminListen   string
	Data          string
	DatabaseURL   db.URL
	MigrateURL    db.URL
	Secret        domain.Secret
	BootstrapKey  domain.Secret
	OpenAI        ProviderConfig
	Anthropic     ProviderConfig
	Sim           *bool
	ExtraCA       string
	CORSOrigins   []string
	MaxBodyBytes  int64
	DrainTimeout  time.Duration
	CallerGone    proxy.CallerGonePolicy
	MaxStale      time.Duration
	Replica       string
	Durability    string
	Spool         string
	SpoolMaxBytes int64
	SpoolKeep     time.Duration
	SealKey       domain.Secret
	SealOldKeys   string
	Origin        string
	Checkpoints   string
	PollOnly      bool
	LogFormat     string
	LogLevel      string
	PGBin         string
	HeaderTimeout time.Duration
	IdleTimeout   time.Duration
	PGRepository  string

	usualData string // where data is kept if nobody says where
}

// ProviderConfig sets a provider up.
type ProviderConfig struct {
	Key     domain.Secret
	BaseURL string
}

// setting is one row of the manual: an environment variable, what it means and
// how it is read.
type setting struct {
	name, value, doc string
	set              func(*Config, string) error
}

// settings is the manual of Config.
func settings() []setting {
	return []setting{
		{"MANTI_LISTEN", "ADDRESS", "where callers reach manti; 127.0.0.1:8080, and :8080 in a container", text(func(c *Config) *string { return &c.Listen })},
		{"MANTI_ADMIN_LISTEN", "ADDRESS", "a listener of its own for /metrics, /healthz and /readyz; then /metrics is served there only", text(func(c *Config) *string { return &c.AdminListen })},
		{"MANTI_DATA", "DIRECTORY", "spool, snapshot and the private Postgres; $XDG_DATA_HOME/manti (~/.local/share/manti), for root /var/lib/manti", text(func(c *Config) *string { return &c.Data })},
		{"DATABASE_URL", "URL", "the Postgres (15 or newer) of the ledger; without it manti runs a private one in its data directory", text(func(c *Config) *db.URL { return &c.DatabaseURL })},
		{"MANTI_MIGRATE_URL", "URL", "another login for migrations: the owner of the schema", text(func(c *Config) *db.URL { return &c.MigrateURL })},
		{"MANTI_SECRET", "64 HEX DIGITS", "32 random bytes from which the pepper of stored keys is made: `openssl rand -hex 32`; needed with DATABASE_URL, made by itself with the private Postgres", text(func(c *Config) *domain.Secret { return &c.Secret })},
		{"MANTI_BOOTSTRAP_KEY", "KEY", "an API key (20 characters or more) that works from the first start on, for the organisation \"default\"", text(func(c *Config) *domain.Secret { return &c.BootstrapKey })},
		{"MANTI_PROVIDERS_OPENAI_API_KEY", "KEY", "OpenAI's key; sets the provider up", text(func(c *Config) *domain.Secret { return &c.OpenAI.Key })},
		{"MANTI_PROVIDERS_OPENAI_BASE_URL", "URL", "where OpenAI's API begins; https://api.openai.com/v1", text(func(c *Config) *string { return &c.OpenAI.BaseURL })},
		{"MANTI_PROVIDERS_ANTHROPIC_API_KEY", "KEY", "Anthropic's key; sets the provider up", text(func(c *Config) *domain.Secret { return &c.Anthropic.Key })},
		{"MANTI_PROVIDERS_ANTHROPIC_BASE_URL", "URL", "where Anthropic's API begins; https://api.anthropic.com", text(func(c *Config) *string { return &c.Anthropic.BaseURL })},
		{"MANTI_SIM", "0|1", "serve the simulator's models sim/…; 1 unless a provider is set up", setSim},
		{"MANTI_EXTRA_CA", "FILE", "certificates in PEM to trust besides the system's, for providers behind a company's proxy", text(func(c *Config) *string { return &c.ExtraCA })},
		{"MANTI_CORS_ORIGINS", "ORIGIN,…", "origins whose pages may call from a browser; * is every one", setOrigins},
		{"MANTI_MAX_BODY_BYTES", "BYTES", "the largest request; 33554432 (32 MiB)", setBytes(func(c *Config) *int64 { return &c.MaxBodyBytes })},
		{"MANTI_DRAIN_TIMEOUT", "DURATION", "how long running calls may take to finish after SIGTERM; 30s", setDuration(func(c *Config) *time.Duration { return &c.DrainTimeout })},
		{"MANTI_CALLER_GONE", "drain|cancel", "when a caller hangs up: read on to the provider's own usage, or stop the provider and bill what is known; drain", setGone},
		{"MANTI_UPSTREAM_HEADER_TIMEOUT", "DURATION", "how long a provider may take to begin its answer; 10m, for models that think", setDuration(func(c *Config) *time.Duration { return &c.HeaderTimeout })},
		{"MANTI_UPSTREAM_IDLE_TIMEOUT", "DURATION", "how long a provider's answer may stand still; 5m", setDuration(func(c *Config) *time.Duration { return &c.IdleTimeout })},
		{"MANTI_AUTH_MAX_STALE", "DURATION", "how long keys are trusted without word from the database; 15m", setDuration(func(c *Config) *time.Duration { return &c.MaxStale })},
		{"MANTI_REPLICA", "NAME", "this process's name in events; the host's name", text(func(c *Config) *string { return &c.Replica })},
		{"MANTI_DURABILITY", "spool|postgres", "where a call is durable first: in the spool on this host's disk, or, for hosts without one, in Postgres: then no call is admitted without the database; spool", oneOf(func(c *Config) *string { return &c.Durability }, "spool", durableInPostgres)},
		{"MANTI_SPOOL", "DIRECTORY", "the write-ahead spool; spool in the data directory. One for each process, on a disk that survives it", text(func(c *Config) *string { return &c.Spool })},
		{"MANTI_SPOOL_MAX_BYTES", "BYTES", "the most that the spool may take on disk; 134217728 at least, 8589934592 (8 GiB)", setSpoolBytes},
		{"MANTI_SPOOL_KEEP", "DURATION", "how long shipped segments stay, to refill a restored ledger; 72h", setDuration(func(c *Config) *time.Duration { return &c.SpoolKeep })},
		{"MANTI_SEAL_KEY", "KEY|file:PATH", "the signer key of checkpoints: `manti seal keygen`. Without one this process doesn't seal; made by itself in the data directory (seal.key) with the private Postgres", text(func(c *Config) *domain.Secret { return &c.SealKey })},
		{"MANTI_SEAL_OLD_KEYS", "KEY,…", "verifier keys that signed before a rotation, or sign elsewhere", text(func(c *Config) *string { return &c.SealOldKeys })},
		{"MANTI_ORIGIN", "NAME", "the ledger's name in checkpoints, for ever, like example.com/ledger; the name in the signer key", text(func(c *Config) *string { return &c.Origin })},
		{"MANTI_CHECKPOINTS", "DIRECTORY", "where the last signed checkpoint is remembered, out of reach of the database; checkpoints in the data directory. Replicas may share it", text(func(c *Config) *string { return &c.Checkpoints })},
		{"MANTI_POLL_ONLY", "0|1", "don't use LISTEN: for a Postgres behind PgBouncer", setPollOnly},
		{"MANTI_LOG_FORMAT", "text|json", "text on a terminal, else json", oneOf(func(c *Config) *string { return &c.LogFormat }, "text", "json")},
		{"MANTI_LOG_LEVEL", "LEVEL", "debug, info, warn or error; info", oneOf(func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
		{"MANTI_PG_BIN", "DIRECTORY", "where the programs of the private Postgres are, if not in a usual place", text(func(c *Config) *string { return &c.PGBin })},
		{"MANTI_PG_REPOSITORY", "URL", "the Maven repository to fetch these programs from where the machine has none; https://repo1.maven.org/maven2", text(func(c *Config) *string { return &c.PGRepository })},
	}
}

// otherVariables begin with MANTI_ and belong to other programs of the house.
var otherVariables = []string{"MANTI_URL", "MANTI_TOKEN", "MANTI_KEY", "MANTI_TEST_", "MANTI_RECORDINGS", "MANTI_VERSION", "MANTI_PORT"}

// loadConfig reads the environment, and .env below it. A MANTI_ variable that
// nobody knows is an error: it is likely misspelt.
func loadConfig(environ []string) (Config, error) {
	env, err := withDotEnv(environ)
	if err != nil {
		return Config{}, err
	}
	var cfg Config
	var problems []error
	known := map[string]bool{}
	for _, s := range settings() {
		known[s.name] = true
		value, ok := env[s.name]
		if !ok || value == "" {
			continue
		}
		if err := s.set(&cfg, value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if strings.HasPrefix(name, "MANTI_") && !known[name] && !isOther(name) {
			problems = append(problems, fmt.Errorf("%s: there is no such setting; `manti help settings` lists them", name))
		}
	}
	return cfg.withDefaults(env), errors.Join(problems...)
}

func isOther(name string) bool {
	return slices.ContainsFunc(otherVariables, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// withDotEnv is the environment over the variables of a file .env in the
// working directory, if there is one.
func withDotEnv(environ []string) (map[string]string, error) {
	env, err := godotenv.Read(".env")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the file .env can't be read: each line must be NAME=value")
	}
	if env == nil {
		env = map[string]string{}
	}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	return env, nil
}

// moveTo gives it another data directory, and with it the spool, unless that has
// a place of its own.
func (c *Config) moveTo(data string) {
	if data == "" {
		return
	}
	if c.Spool == filepath.Join(c.Data, "spool") {
		c.Spool = filepath.Join(data, "spool")
	}
	c.Data = data
}

func (c Config) withDefaults(env map[string]string) Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8080"
		if inContainer(env) {
			c.Listen = ":8080"
		}
	}
	c.usualData = defaultData(env)
	if c.Data == "" {
		c.Data = c.usualData
	}
	if c.Spool == "" {
		c.Spool = filepath.Join(c.Data, "spool")
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 30 * time.Second
	}
	if c.Replica == "" {
		c.Replica, _ = os.Hostname() // a name is no more than a help
	}
	if c.OpenAI.BaseURL == "" {
		c.OpenAI.BaseURL = "https://api.openai.com/v1"
	}
	if c.Anthropic.BaseURL == "" {
		c.Anthropic.BaseURL = "https://api.anthropic.com"
	}
	return c
}

// defaultData is where data is kept if nobody says where.
func defaultData(env map[string]string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/manti"
	}
	if dir := env["XDG_DATA_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "manti")
	}
	if home := env["HOME"]; home != "" {
		return filepath.Join(home, ".local", "share", "manti")
	}
	return "manti-data"
}

// inContainer reports whether manti runs in a container, where only other
// machines can call it.
func inContainer(env map[string]string) bool {
	if env["container"] != "" || env["KUBERNETES_SERVICE_HOST"] != "" {
		return true
	}
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

func text[S ~string](field func(*Config) *S) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = S(v)
		return nil
	}
}

func oneOf(field func(*Config) *string, allowed ...string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("%q is none of %s", v, strings.Join(allowed, ", "))
		}
		*field(c) = v
		return nil
	}
}

func setBytes(field func(*Config) *int64) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n <= 0 {
			return fmt.Errorf("%q is no number of bytes above 0", v)
		}
		*field(c) = n
		return nil
	}
}

// minSpoolBytes is two segment files: one that is written to and one to go on in.
const minSpoolBytes = 128 << 20

func setSpoolBytes(c *Config, v string) error {
	if err := setBytes(func(c *Config) *int64 { return &c.SpoolMaxBytes })(c, v); err != nil {
		return err
	}
	if c.SpoolMaxBytes < minSpoolBytes {
		return fmt.Errorf("%s is less than %d (128 MiB)", v, minSpoolBytes)
	}
	return nil
}

func setDuration(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is no duration like 30s or 15m", v)
		}
		*field(c) = d
		return nil
	}
}

func parseSwitch(v string) (bool, error) {
	switch v {
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither 0 nor 1", v)
}

func setSim(c *Config, v string) error {
	on, err := parseSwitch(v)
	c.Sim = &on
	return err
}

func setPollOnly(c *Config, v string) (err error) {
	c.PollOnly, err = parseSwitch(v)
	return err
}

func setOrigins(c *Config, v string) error {
	for origin := range strings.SplitSeq(v, ",") {
		if origin = strings.TrimSpace(origin); origin != "" {
			c.CORSOrigins = append(c.CORSOrigins, origin)
		}
	}
	return nil
}

func setGone(c *Config, v string) error {
	switch p := proxy.CallerGonePolicy(v); p {
	case proxy.Drain, proxy.Cancel:
		c.CallerGone = p
		return nil
	}
	return fmt.Errorf("%q is neither drain nor cancel", v)
}

// simulated reports whether the simulator's models are served.
func (c *Config) simulated() bool {
	if c.Sim != nil {
		return *c.Sim
	}
	return c.OpenAI.Key == "" && c.Anthropic.Key == ""
}

// fingerprint names the configuration in events: the same on every replica
// that is set up alike. No secret goes into it, not even hashed.
func (c Config) fingerprint() string {
	on := c.simulated()
	c.Sim, c.Listen, c.AdminListen, c.Data, c.usualData, c.Spool, c.Replica, c.PGBin = nil, "", "", "", "", "", "", ""
	c.DatabaseURL, c.MigrateURL, c.Secret, c.BootstrapKey = "", "", "", ""
	c.OpenAI.Key, c.Anthropic.Key = "", ""
	c.SealKey, c.SealOldKeys, c.Checkpoints = "", "", ""
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %t %+v", version, on, c))
	return hex.EncodeToString(sum[:8])
}

// reachable is the address under which this machine reaches a listener.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
