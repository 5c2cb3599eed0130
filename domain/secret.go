package domain

import "log/slog"

// Secret is text that must never be shown: a provider's key, a password. It
// prints, logs and marshals as "redacted".
type Secret string

// Reveal is the secret itself, for the one place that uses it.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (Secret) String() string { return "redacted" }

// GoString hides the secret.
func (Secret) GoString() string { return "redacted" }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("redacted"), nil }
