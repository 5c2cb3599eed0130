package sim

import (
	"slices"
	"strconv"
	"strings"
)

// A Fault is a way for a call to go wrong. A number from 400 to 599 is one
// too: an error of that status in the dialect's own shape.
type Fault string

// The faults. "Half" is half of the answer's tokens, or of a plain answer's
// bytes.
const (
	FaultReset      Fault = "reset"       // the connection is reset before any byte
	FaultResetMid   Fault = "reset-mid"   // … after half the answer
	FaultHangup     Fault = "hangup"      // the connection is closed before any byte
	FaultHangupMid  Fault = "hangup-mid"  // … after half the answer, which HTTP's framing shows
	FaultCut        Fault = "cut"         // half the answer, then a clean end of the body without the dialect's end mark
	FaultNoDone     Fault = "no-done"     // everything but the dialect's end mark
	FaultStall      Fault = "stall"       // never answers
	FaultStallMid   Fault = "stall-mid"   // half the answer, then nothing more
	FaultSlow       Fault = "slow"        // first byte after Config.Slow more
	FaultGarbage    Fault = "garbage"     // a 200 whose body is no JSON, or has a frame that is none
	FaultNotHTTP    Fault = "not-http"    // bytes that are no HTTP
	FaultEmpty      Fault = "empty"       // a 200 with an empty body
	FaultEmpty500   Fault = "empty-500"   // a 500 with an empty body
	FaultHTML       Fault = "html"        // a proxy's error page, status 502
	FaultNoUsage    Fault = "no-usage"    // a whole answer that doesn't state its usage
	FaultError200   Fault = "error-200"   // a 200 whose body, or first frame, is an error
	FaultErrorMid   Fault = "error-mid"   // half a stream, then an error frame; plain: error-200
	FaultQuota      Fault = "quota"       // OpenAI's insufficient_quota, Anthropic's billing_error
	FaultContext    Fault = "context"     // the prompt is too long
	FaultRefuse     Fault = "refuse"      // the model refuses: a whole, billed answer
	FaultFilter     Fault = "filter"      // the answer is cut by a content filter: whole, billed
	FaultOddFraming Fault = "odd-framing" // a correct stream with CRLF, comments, and bytes behind the end mark
)

// faults are all but the numeric ones.
var faults = []Fault{
	FaultReset, FaultResetMid, FaultHangup, FaultHangupMid, FaultCut, FaultNoDone, FaultStall, FaultStallMid,
	FaultSlow, FaultGarbage, FaultNotHTTP, FaultEmpty, FaultEmpty500, FaultHTML, FaultNoUsage, FaultError200,
	FaultErrorMid, FaultQuota, FaultContext, FaultRefuse, FaultFilter, FaultOddFraming,
}

// Faults lists every named fault.
func Faults() []Fault { return slices.Clone(faults) }

// onceSuffix makes a fault strike every other time only that a body comes.
const onceSuffix = "-once"

// ParseFault knows a fault by its name.
func ParseFault(name string) (Fault, bool) {
	f := Fault(name)
	bare := f.bare()
	if bare.status() != 0 || slices.Contains(faults, bare) {
		return f, true
	}
	return "", false
}

func (f Fault) bare() Fault { return Fault(strings.TrimSuffix(string(f), onceSuffix)) }

func (f Fault) once() bool { return strings.HasSuffix(string(f), onceSuffix) }

// status is the HTTP status of a numeric fault, else 0.
func (f Fault) status() int {
	n, err := strconv.Atoi(string(f))
	if err != nil || n < 400 || n > 599 {
		return 0
	}
	return n
}

// breaks says that the fault strikes in the middle of an answer.
func (f Fault) breaks() bool {
	switch f {
	case FaultResetMid, FaultHangupMid, FaultCut, FaultStallMid, FaultErrorMid, FaultGarbage:
		return true
	default:
		return false
	}
}

// faultRate is one entry of Config.Faults, in a fixed order.
type faultRate struct {
	fault      Fault
	perMillion int
}

// sortRates brings Config.Faults into an order, so that a seed draws the same
// faults every time. Names that are no fault are returned.
func sortRates(rates map[Fault]int) (sorted []faultRate, unknown []Fault) {
	for f, n := range rates {
		if _, ok := ParseFault(string(f)); !ok {
			unknown = append(unknown, f)
		}
		sorted = append(sorted, faultRate{f, n})
	}
	slices.SortFunc(sorted, func(a, b faultRate) int { return strings.Compare(string(a.fault), string(b.fault)) })
	return sorted, unknown
}

// fault decides which fault strikes a call: the header's, the model name's or
// a drawn one, in this order.
func (c *call) chooseFault(byModel Fault) Fault {
	f := byModel
	if c.in.fault != "" {
		if asked, ok := ParseFault(c.in.fault); ok {
			f = asked
		}
	}
	if f == "" {
		f = c.drawFault()
	}
	if f.once() && !c.p.oddTime(c.bodySum) {
		return ""
	}
	return f.bare()
}

func (c *call) drawFault() Fault {
	if len(c.p.rates) == 0 {
		return ""
	}
	n := c.draw.below(1_000_000)
	for _, r := range c.p.rates {
		if n < r.perMillion {
			return r.fault
		}
		n -= r.perMillion
	}
	return ""
}

// oddTime says whether a body comes for the first, third, fifth … time.
func (p *Provider) oddTime(bodySum uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[bodySum]++
	return p.seen[bodySum]%2 == 1
}
