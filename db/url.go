package db

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// URL is a Postgres connection URL (postgres://user:password@host/database?…).
// It may hold a password, so formatting, logging and marshalling it show
// everything but that; Reveal gives the real text.
type URL string

const hidden = "xxxxx"

// errBadURL says nothing of the text that could not be parsed: where the
// password ends is exactly what is unclear then.
var errBadURL = errors.New("the database URL cannot be parsed: it must read postgres://user:password@host:port/database, " +
	"with special characters in the password percent-encoded")

// Reveal returns the URL with its password, for connecting and nothing else.
func (u URL) Reveal() string { return string(u) }

// String returns the URL without its secrets, or "postgres://…" if it cannot be parsed.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := u.parse()
	if err != nil {
		return "postgres://…"
	}
	if _, ok := parsed.User.Password(); ok {
		parsed.User = url.UserPassword(parsed.User.Username(), hidden)
	}
	query := parsed.Query()
	for _, key := range secretParams {
		if query.Has(key) {
			query.Set(key, hidden)
		}
	}
	parsed.RawQuery = query.Encode()
	return parsed.String()
}

// GoString is String, for %#v.
func (u URL) GoString() string { return u.String() }

// LogValue is String, for slog.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText is String, for JSON and YAML.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// User returns the login that the URL names, empty if it names none.
func (u URL) User() string {
	parsed, err := u.parse()
	if err != nil {
		return ""
	}
	if name := parsed.User.Username(); name != "" {
		return name
	}
	return parsed.Query().Get("user")
}

// WithDatabase returns the URL of another database on the same server.
func (u URL) WithDatabase(name string) (URL, error) {
	parsed, err := u.parse()
	if err != nil {
		return "", err
	}
	query := parsed.Query()
	query.Del("dbname")
	query.Del("database")
	parsed.RawQuery = query.Encode()
	parsed.Path = "/" + name
	parsed.RawPath = ""
	return URL(parsed.String()), nil
}

// secretParams are the query parameters that hold a secret.
var secretParams = []string{"password", "sslpassword"}

func (u URL) parse() (*url.URL, error) {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return nil, errBadURL
	}
	if parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return nil, errBadURL
	}
	if _, err := url.ParseQuery(parsed.RawQuery); err != nil {
		return nil, errBadURL
	}
	return parsed, nil
}

// secrets returns every spelling of every secret in the URL.
func (u URL) secrets() []string {
	parsed, err := u.parse()
	if err != nil {
		return nil
	}
	var plain []string
	if password, ok := parsed.User.Password(); ok {
		plain = append(plain, password)
	}
	for _, key := range secretParams {
		plain = append(plain, parsed.Query()[key]...)
	}
	var all []string
	for _, secret := range plain {
		if secret == "" {
			continue
		}
		inUserinfo := strings.TrimPrefix(url.UserPassword("", secret).String(), ":")
		all = append(all, secret, inUserinfo, url.QueryEscape(secret), url.PathEscape(secret))
	}
	return all
}

// redact returns err, or, if its text shows one of the secrets, an error of the
// same text without them. Nothing can be unwrapped from the latter.
func redact(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := text
	for _, secret := range secrets {
		clean = strings.ReplaceAll(clean, secret, hidden)
	}
	if clean == text {
		return err
	}
	return fmt.Errorf("%s", clean)
}
