package db

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/shopspring/decimal"
)

// The wire format of numeric: four 16-bit words (number of digits, weight of the
// first digit, sign, digits after the point to show), then digits in base 10000.
// https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/numeric.c (numeric_send)
const (
	numericHeader   = 8
	numericBase     = 10_000
	numericNegative = 0x4000
	numericNaN      = 0xC000
	numericInf      = 0xD000
	numericNegInf   = 0xF000
	// Postgres keeps at most this many digits before and after the point.
	maxIntegerDigits = 131_072
	maxScale         = 16_383
)

// checkRange refuses what Postgres could not hold: before digits are written
// out, since 1e1000000000 is short as a decimal.Decimal and is not as digits.
func checkRange(d decimal.Decimal) error {
	exponent := int64(d.Exponent())
	if -exponent > maxScale || int64(d.NumDigits())+exponent > maxIntegerDigits {
		return fmt.Errorf("write numeric: more digits than Postgres keeps (%d before the point, %d after)", maxIntegerDigits, maxScale)
	}
	return nil
}

// plainText returns all digits of d, without an exponent, with its zeros after the point.
func plainText(d decimal.Decimal) string {
	if d.Exponent() < 0 {
		return d.StringFixed(-d.Exponent())
	}
	return d.String()
}

// appendNumeric appends the wire format of d, which has passed checkRange.
func appendNumeric(buf []byte, d decimal.Decimal) []byte {
	coefficient, exponent := d.Coefficient(), int(d.Exponent())
	scale := max(-exponent, 0)
	sign := uint16(0)
	if coefficient.Sign() < 0 {
		sign = numericNegative
		coefficient.Neg(coefficient)
	}
	// Make the exponent a multiple of 4, so that groups of four digits align with the point.
	shift := ((exponent % 4) + 4) % 4
	if shift > 0 {
		coefficient.Mul(coefficient, big.NewInt(powersOfTen[shift]))
	}
	groups := groupsOf(coefficient)
	weight := len(groups) - 1 + (exponent-shift)/4
	for len(groups) > 0 && groups[len(groups)-1] == 0 {
		groups = groups[:len(groups)-1]
	}
	if len(groups) == 0 {
		weight, sign = 0, 0
	}
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(groups)))
	buf = binary.BigEndian.AppendUint16(buf, uint16(int16(weight)))
	buf = binary.BigEndian.AppendUint16(buf, sign)
	buf = binary.BigEndian.AppendUint16(buf, uint16(scale))
	for _, group := range groups {
		buf = binary.BigEndian.AppendUint16(buf, group)
	}
	return buf
}

// groupsOf returns n ≥ 0 in base 10000, most significant first, nothing for zero.
func groupsOf(n *big.Int) []uint16 {
	if n.IsUint64() {
		var reversed [5]uint16
		count := 0
		for v := n.Uint64(); v > 0; v /= numericBase {
			reversed[count] = uint16(v % numericBase)
			count++
		}
		groups := make([]uint16, count)
		for i := range groups {
			groups[i] = reversed[count-1-i]
		}
		return groups
	}
	digits := n.String()
	first := len(digits) % 4
	groups := make([]uint16, 0, len(digits)/4+1)
	if first > 0 {
		groups = append(groups, fourDigits(digits[:first]))
	}
	for ; first < len(digits); first += 4 {
		groups = append(groups, fourDigits(digits[first:first+4]))
	}
	return groups
}

// fourDigits reads at most four decimal digits.
func fourDigits(digits string) uint16 {
	group := uint16(0)
	for _, digit := range []byte(digits) {
		group = group*10 + uint16(digit-'0')
	}
	return group
}

// parseNumeric reads the wire format.
func parseNumeric(src []byte) (decimal.Decimal, error) {
	if len(src) < numericHeader {
		return decimal.Decimal{}, fmt.Errorf("read numeric: %d bytes are too few", len(src))
	}
	count := int(binary.BigEndian.Uint16(src))
	weight := int(int16(binary.BigEndian.Uint16(src[2:])))
	sign := binary.BigEndian.Uint16(src[4:])
	scale := int(binary.BigEndian.Uint16(src[6:]))
	switch sign {
	case 0, numericNegative:
	case numericNaN, numericInf, numericNegInf:
		return decimal.Decimal{}, fmt.Errorf("read numeric: %w", errNotFinite)
	default:
		return decimal.Decimal{}, fmt.Errorf("read numeric: unknown sign %#x", sign)
	}
	if len(src) != numericHeader+2*count || scale > maxScale {
		return decimal.Decimal{}, fmt.Errorf("read numeric: %d bytes for %d digits of scale %d", len(src), count, scale)
	}
	coefficient, err := coefficientOf(src[numericHeader:])
	if err != nil {
		return decimal.Decimal{}, err
	}
	if sign == numericNegative {
		coefficient.Neg(coefficient)
	}
	return rescale(coefficient, 4*(weight-count+1), -scale)
}

// coefficientOf reads digits of base 10000.
func coefficientOf(src []byte) (*big.Int, error) {
	const inUint64 = 4 // groups: 10^16 and four digits more fit
	coefficient := new(big.Int)
	small := uint64(0)
	for i := 0; i < len(src); i += 2 {
		group := uint64(binary.BigEndian.Uint16(src[i:]))
		if group >= numericBase {
			return nil, fmt.Errorf("read numeric: digit %d is out of range", group)
		}
		switch {
		case i/2 < inUint64:
			small = small*numericBase + group
			coefficient.SetUint64(small)
		default:
			coefficient.Mul(coefficient, big.NewInt(numericBase))
			coefficient.Add(coefficient, new(big.Int).SetUint64(group))
		}
	}
	return coefficient, nil
}

// rescale returns coefficient × 10^from as a decimal whose exponent is to,
// refusing to drop a digit that isn't zero.
func rescale(coefficient *big.Int, from, to int) (decimal.Decimal, error) {
	switch {
	case from > to:
		coefficient.Mul(coefficient, powerOfTen(from-to))
	case from < to:
		remainder := new(big.Int)
		coefficient.QuoRem(coefficient, powerOfTen(to-from), remainder)
		if remainder.Sign() != 0 {
			return decimal.Decimal{}, errors.New("read numeric: digits beyond its scale")
		}
	}
	return decimal.NewFromBigInt(coefficient, int32(to)), nil
}

// powersOfTen are those that fit in an int64 and are used most.
var powersOfTen = [...]int64{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000}

func powerOfTen(n int) *big.Int {
	if n < len(powersOfTen) {
		return big.NewInt(powersOfTen[n])
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}
