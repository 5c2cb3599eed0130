package domain

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Metered is Usage in its JSON form: an object from meter name to quantity,
// in the order of the names' declaration, without zeros.
type Metered Usage

// IsZero reports whether nothing was used.
func (m Metered) IsZero() bool { return m == Metered{} }

// MarshalJSON writes the non-zero meters.
func (m Metered) MarshalJSON() ([]byte, error) { return m.appendJSON(nil), nil }

func (m Metered) appendJSON(b []byte) []byte {
	o := openObject(b)
	for i, n := range m {
		if n != 0 {
			o.int(meterNames[i], n)
		}
	}
	return o.close()
}

// ErrMeter is returned for usage with an unknown meter or a negative quantity.
var ErrMeter = errors.New("domain: unknown meter or negative quantity")

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Metered) UnmarshalJSON(b []byte) error {
	var byName map[string]int64
	if err := json.Unmarshal(b, &byName); err != nil {
		return fmt.Errorf("read usage: %w", err)
	}
	*m = Metered{}
	for name, n := range byName {
		meter, ok := ParseMeter(name)
		if !ok || n < 0 {
			return fmt.Errorf("%w: %s %d", ErrMeter, name, n)
		}
		m[meter] = n
	}
	return nil
}

// RawJSON is a JSON value kept as it came.
type RawJSON = json.RawMessage

// Limits of what an event keeps of a caller's or provider's making. A record
// never exceeds MaxRecordBytes, so the spool can reserve room for it.
const (
	MaxRawUsage    = 4 << 10
	MaxAttempts    = 8
	MaxRecordBytes = 32 << 10
)
