package sim

import (
	"strconv"
	"time"
)

// StampBytes is the length of a stamp: "t" and Unix nanoseconds in 19 digits.
//
// A plain answer of a load model begins with two of them: when the request
// had been read, and when the answer was written. In a stream, each chunk is
// one: when that chunk was written. All processes of a machine share the
// clock, so a stamp taken from an answer gives what was lost on the way.
const StampBytes = 20

// Stamp reads the stamp at the beginning of a text.
func Stamp(text string) (time.Time, bool) {
	if len(text) < StampBytes || text[0] != 't' {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(text[1:StampBytes], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(0, n), true
}

// appendStamp appends one. Times before 2001-09-09 have fewer digits and are
// padded with zeros (fake clocks begin in 2000).
func appendStamp(b []byte, t time.Time) []byte {
	b = append(b, 't')
	n := uint64(t.UnixNano())
	for unit := uint64(1e18); unit > 0; unit /= 10 {
		b = append(b, '0'+byte(n/unit%10))
	}
	return b
}

// appendStamps appends the two stamps of a plain answer.
func (c *call) appendStamps(b []byte) []byte {
	return appendStamp(appendStamp(b, c.begunAt), time.Now())
}
