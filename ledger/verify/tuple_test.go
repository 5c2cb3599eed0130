package verify_test

import (
	"bytes"
	"testing"

	"manti/ledger/verify"
)

const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// Whatever the database sends, it is read or refused.
func FuzzFields(f *testing.F) {
	f.Add([]byte(copyHeader + "\x00\x02" + "\x00\x00\x00\x01a" + "\xff\xff\xff\xff"))
	f.Add([]byte(copyHeader + "\xff\xff"))
	f.Add([]byte(copyHeader + "\x00\x02" + "\x7f\xff\xff\xff"))
	f.Add([]byte("PGCOPY"))
	f.Fuzz(func(t *testing.T, message []byte) {
		fields, err := verify.Fields(message)
		if err != nil {
			return
		}
		for _, field := range fields {
			if !bytes.Contains(message, field) {
				t.Errorf("a field that wasn't sent: %x", field)
			}
		}
	})
}

func TestFieldsAreTakenApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, message string
		fields        int
		ok            bool
	}{
		{"a row", copyHeader + "\x00\x02" + "\x00\x00\x00\x01a" + "\xff\xff\xff\xff", 2, true},
		{"no row", copyHeader + "\xff\xff", 0, true},
		{"another count", copyHeader + "\x00\x03" + "\xff\xff\xff\xff", 0, false},
		{"too long a field", copyHeader + "\x00\x02" + "\x00\x00\x00\x09a", 0, false},
		{"another format", "index\tid\n", 0, false},
	} {
		fields, err := verify.Fields([]byte(c.message))
		if (err == nil) != c.ok || len(fields) != c.fields {
			t.Errorf("%s: %d fields, %v", c.name, len(fields), err)
		}
	}
}
