package main

import (
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/seal"
	"manti/ledger/spool"
)

// A segment of the spool is kept until a checkpoint covers all that it held,
// whoever signs. Without any sealer it isn't kept for that.
func TestCoverage(t *testing.T) {
	t.Parallel()
	key, err := seal.NewKey("example.com/ledger")
	if err != nil {
		t.Fatal(err)
	}
	for _, here := range []bool{true, false} {
		pool := dbtest.New(t)
		cfg := Config{Data: t.TempDir(), DatabaseURL: "postgres://"}
		if here {
			cfg.SealKey = key
		}
		e, err := openEvidence(cfg, false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		c := coverage{evidence: e}
		c.note(t.Context(), 100)
		if c.covered(50) {
			t.Error("covered while nothing is known")
		}
		if _, err := e.connect(pool, nil); err != nil {
			t.Fatal(err)
		}
		appendOrg(t, pool)
		c.note(t.Context(), 100)
		if c.covered(50) != !here {
			t.Errorf("sealing here: %t: covered %t by no checkpoint", here, !here)
		}
		sealOnce(t, pool, key, cfg)
		appendOrg(t, pool)
		c.note(t.Context(), 200) // looks for the checkpoint too
		for end, want := range map[int64]bool{50: true, 100: true, 101: false, 200: false} {
			if got := c.covered(spool.Position(end)); got != want {
				t.Errorf("sealing here: %t: covered up to %d: %t, want %t", here, end, got, want)
			}
		}
		sealOnce(t, pool, key, cfg)
		appendOrg(t, pool)
		c.note(t.Context(), 300)
		if !c.covered(200) || c.covered(201) {
			t.Errorf("sealing here: %t: covered %t %t", here, c.covered(200), c.covered(201))
		}
	}
}

func appendOrg(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	at := eventTime()
	enc, err := domain.Encode(domain.Event{ID: newID[domain.EventID](at), At: at, Author: systemAuthor, Body: &domain.OrgCreated{Org: newID[domain.OrgID](at)}}, domain.Salt{}, domain.Salt{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.New(pool).Append(t.Context(), []domain.Encoded{enc}); err != nil {
		t.Fatal(err)
	}
}

func sealOnce(t *testing.T, pool *pgxpool.Pool, key domain.Secret, cfg Config) {
	t.Helper()
	cfg.SealKey = key
	s, err := newSealer(cfg, pool, nil)
	if err == nil {
		_, err = s.Pass(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}
