package admit_test

import (
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"manti/proxy/admit"
	"manti/proxy/dialect"
	"manti/proxy/route"
)

func BenchmarkBoundMegabyte(b *testing.B) {
	dearest := route.Dearest{Input: decimal.New(2, -6), Output: decimal.New(8, -6), Context: 2 << 20, Answer: 32768}
	for _, bc := range []struct{ name, unit string }{
		{"prose", "The ledger is append-only; what was written once is never changed. "},
		{"many quotes", `"role":"user","content":"Hi"},{`},
	} {
		body := []byte(strings.Repeat(bc.unit, 1<<20/len(bc.unit)))
		b.Run(bc.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				admit.Bound(&dialect.Head{N: 1}, body, dearest)
			}
		})
	}
}
