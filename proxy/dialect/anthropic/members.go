package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"

	"manti/proxy/llm/scan"
)

// members are the members of a JSON object in their order, for objects that
// are passed on as they came.
type members []member

type member struct {
	name  string
	value json.RawMessage
}

// set replaces the member of m's name, or appends m.
func (ms *members) set(m member) {
	for i := range *ms {
		if (*ms)[i].name == m.name {
			(*ms)[i].value = m.value
			return
		}
	}
	*ms = append(*ms, m)
}

// UnmarshalJSON reads an object.
func (ms *members) UnmarshalJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("read an object's members: no object (%v)", err)
	}
	*ms = nil
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read a member's name: %w", err)
		}
		m := member{name: name.(string)} // the decoder gives no other key
		if err := dec.Decode(&m.value); err != nil {
			return fmt.Errorf("read a member: %w", err)
		}
		ms.set(m)
	}
	return nil
}

// MarshalJSON writes the object.
func (ms members) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range ms {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(scan.AppendString(out, m.name), ':')
		out = append(out, m.value...)
	}
	return append(out, '}'), nil
}
