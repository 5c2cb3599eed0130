package db_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"manti/db"
)

func TestURLShowsNoPassword(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, url, want string
	}{
		{"no password", "postgres://manti@host/books", "postgres://manti@host/books"},
		{"password", "postgres://manti:s3cret@host:5432/books", "postgres://manti:xxxxx@host:5432/books"},
		{"encoded password", "postgres://manti:s3cret%2Fx%40@host/books", "postgres://manti:xxxxx@host/books"},
		{"password as parameter", "postgresql://host/books?password=s3cret&user=manti", "postgresql://host/books?password=xxxxx&user=manti"},
		{"key's password", "postgres://host/books?sslpassword=s3cret", "postgres://host/books?sslpassword=xxxxx"},
		{"broken in the password", "postgres://manti:s3cret/x@host/books", "postgres://…"},
		{"bad escape in the password", "postgres://manti:s3cret%zz@host/books", "postgres://…"},
		{"keywords", "host=h password=s3cret", "postgres://…"},
		{"empty", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := db.URL(test.url)
			if got := url.String(); got != test.want {
				t.Errorf("String() = %q, want %q", got, test.want)
			}
			for _, shown := range renderings(t, url) {
				if strings.Contains(shown, "s3cret") {
					t.Errorf("the password shows in %q", shown)
				}
			}
			if url.Reveal() != test.url {
				t.Errorf("Reveal() = %q, want %q", url.Reveal(), test.url)
			}
		})
	}
}

// renderings returns every way in which a URL, alone or in a Config, might get into a log.
func renderings(t *testing.T, url db.URL) []string {
	t.Helper()
	cfg := db.Config{URL: url}
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("open", "url", url, "config", cfg)
	slog.New(slog.NewTextHandler(&log, nil)).Info("open", "url", url, "config", cfg)
	return []string{
		fmt.Sprint(url), fmt.Sprintf("%v %+v %#v %s %q", url, url, url, url, url),
		fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), string(asJSON), log.String(),
	}
}

func TestOpenErrorsShowNoPassword(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, url string }{
		{"slash in the password", "postgres://manti:s3cret/x@host/books"},
		{"bad escape", "postgres://manti:s3cret%zz@host/books"},
		{"colon and bracket", "postgres://manti:s3cret[@host/books"},
		{"bad port", "postgres://manti:s3cret@host:port/books"},
		{"bad sslmode", "postgres://manti:s3cret@host/books?sslmode=s3cret"},
		{"bad pool size", "postgres://manti:s3cret@host/books?pool_max_conns=many"},
		{"bad timeout", "postgres://manti:s3cret@host/books?connect_timeout=s3cret"},
		{"missing certificate", "postgres://manti:s3cret@host/books?sslmode=verify-full&sslrootcert=/none"},
		{"keywords", "host=h password=s3cret"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := db.URL(test.url)
			_, openErr := db.Open(t.Context(), db.Config{URL: url})
			_, migrateErr := db.Migrate(t.Context(), db.MigrateConfig{URL: url})
			for what, err := range map[string]error{"Open": openErr, "Migrate": migrateErr} {
				if err == nil {
					t.Errorf("%s took %s", what, test.url)
				} else if strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%s: the password is in %q", what, err)
				}
			}
		})
	}
}

func TestURLWithDatabase(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, url, want string }{
		{"path", "postgres://u:p@h:5/a?sslmode=disable", "postgres://u:p@h:5/b?sslmode=disable"},
		{"parameter", "postgres://u:p@h:5/?dbname=a", "postgres://u:p@h:5/b"},
		{"none", "postgres://h", "postgres://h/b"},
		{"socket", "postgres://u@/a?host=%2Ftmp%2Fs", "postgres://u@/b?host=%2Ftmp%2Fs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := db.URL(test.url).WithDatabase("b")
			if err != nil {
				t.Fatal(err)
			}
			if got.Reveal() != test.want {
				t.Errorf("got %q, want %q", got.Reveal(), test.want)
			}
		})
	}
}

func TestURLUser(t *testing.T) {
	t.Parallel()
	for url, want := range map[db.URL]string{
		"postgres://u:p@h/d": "u", "postgres://h/d?user=u": "u", "postgres://h/d": "", "host=h user=u": "",
	} {
		if got := url.User(); got != want {
			t.Errorf("%s: user %q, want %q", url, got, want)
		}
	}
}
