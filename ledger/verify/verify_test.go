package verify_test

import (
	"testing"

	"manti/ledger/verify"
)

func TestNothingIsWrongWithAWholeLedger(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	for name, change := range map[string]func(*verify.Config){
		"all":     nil,
		"since":   func(c *verify.Config) { c.Since = 260 },
		"sample":  func(c *verify.Config) { c.Sample = 50 },
		"percent": func(c *verify.Config) { c.SamplePercent = 100 },
		"one":     func(c *verify.Config) { c.Workers = 1 },
	} {
		r := b.check(t, change)
		if r.Wrong != 0 || !r.Proven() {
			t.Errorf("%s: %d wrong, proven %v:\n%s", name, r.Wrong, r.Proven(), lines(r))
		}
		if r.Size != bookSize || r.Sealed != sealedSize || r.Checkpoints != 2 || r.Erased != 1 || r.Unsealed <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
