package anthropic

import (
	"encoding/json"
	"strings"
)

// compareToOne compares a JSON number with 1 by its digits: -1, 0 or +1. It is
// exact for numbers of any length; one whose exponent has more than six digits is as good as
// 0 or endless.
func compareToOne(n json.Number) int {
	s := string(n)
	if strings.HasPrefix(s, "-") {
		return -1
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	leading := strings.IndexFunc(digits, func(r rune) bool { return r != '0' })
	if leading < 0 {
		return -1 // zero
	}
	// The first digit that isn't 0 stands for that digit × 10^power.
	power := len(whole) - 1 - leading + clampedInt(exponent)
	switch {
	case power > 0:
		return 1
	case power < 0:
		return -1
	case digits[leading] == '1' && strings.Trim(digits[leading+1:], "0") == "":
		return 0
	}
	return 1
}

// isZero reports whether a JSON number is 0, however it is written.
func isZero(n json.Number) bool {
	mantissa, _, _ := strings.Cut(strings.ToLower(string(n)), "e")
	return strings.Trim(mantissa, "-0.") == ""
}

// clampedInt is the value of an exponent, at most 6 digits of it.
func clampedInt(s string) int {
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimLeft(strings.TrimLeft(s, "+-"), "0")
	if len(s) > 6 {
		s = "999999"
	}
	n := 0
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	if negative {
		return -n
	}
	return n
}
