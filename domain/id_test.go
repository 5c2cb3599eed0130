package domain_test

import (
	"strings"
	"testing"
	"time"

	"manti/domain"
)

func TestNewIDIsVersion7AndSortsByTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 23, 25, 0, 123e6, time.UTC)
	all := [10]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255}
	early := domain.NewID[domain.EventID](at, all)
	late := domain.NewID[domain.EventID](at.Add(time.Millisecond), [10]byte{})
	if got := early.String(); got[14] != '7' || !strings.Contains("89ab", got[19:20]) {
		t.Errorf("version and variant: got %s, want 7 and 8–b", got)
	}
	if early.String() >= late.String() {
		t.Errorf("order: got %s ≥ %s", early, late)
	}
	if got := early.Time(); !got.Equal(at) {
		t.Errorf("time: got %v, want %v", got, at)
	}
}

func TestDerivedID(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1700000000000)
	a := domain.DerivedID[domain.EventID](at, "InvoiceIssued", "org", "2026-11")
	if a != domain.DerivedID[domain.EventID](at, "InvoiceIssued", "org", "2026-11") {
		t.Error("the same subject gave another id")
	}
	if a.String()[14] != '8' {
		t.Errorf("version: got %s", a)
	}
	for name, b := range map[string]domain.EventID{
		"kind":     domain.DerivedID[domain.EventID](at, "InvoiceVoided", "org", "2026-11"),
		"subject":  domain.DerivedID[domain.EventID](at, "InvoiceIssued", "org", "2026-12"),
		"boundary": domain.DerivedID[domain.EventID](at, "InvoiceIssued", "org2", "026-11"),
		"time":     domain.DerivedID[domain.EventID](at.Add(time.Second), "InvoiceIssued", "org", "2026-11"),
	} {
		if a == b {
			t.Errorf("another %s gave the same id", name)
		}
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	id := domain.NewID[domain.OrgID](time.UnixMilli(1), [10]byte{1, 2, 3})
	got, err := domain.ParseID[domain.OrgID](strings.ToUpper(id.String()))
	if err != nil || got != id {
		t.Errorf("round trip: got %v, %v", got, err)
	}
	for _, bad := range []string{"", "x", id.String()[1:], strings.Replace(id.String(), "-", "_", 1), "g" + id.String()[1:]} {
		if _, err := domain.ParseID[domain.OrgID](bad); err == nil {
			t.Errorf("ParseID(%q): want an error", bad)
		}
	}
}
