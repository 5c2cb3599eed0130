package sim

import (
	"encoding/json"
	"slices"
	"strconv"
)

// maxSchemaDepth bounds instances of recursive schemas.
const maxSchemaDepth = 8

// schema is the part of JSON Schema that the simulator understands; of the
// rest (patterns, bounds, $ref) it takes no notice.
type schema struct {
	Type       json.RawMessage            `json:"type"` // a string, or several
	Properties map[string]json.RawMessage `json:"properties"`
	Items      json.RawMessage            `json:"items"`
	Enum       []json.RawMessage          `json:"enum"`
	Const      json.RawMessage            `json:"const"`
	AnyOf      []json.RawMessage          `json:"anyOf"`
}

// instance makes a JSON value that fits a schema, with every property.
func instance(raw json.RawMessage, d *draw) string {
	return string(appendInstance(nil, raw, d, 0))
}

func appendInstance(b []byte, raw json.RawMessage, d *draw, depth int) []byte {
	var s schema
	if len(raw) == 0 || depth > maxSchemaDepth || json.Unmarshal(raw, &s) != nil {
		return append(b, "{}"...)
	}
	switch {
	case len(s.Const) > 0:
		return append(b, s.Const...)
	case len(s.Enum) > 0:
		return append(b, s.Enum[d.below(len(s.Enum))]...)
	case len(s.AnyOf) > 0:
		return appendInstance(b, s.AnyOf[0], d, depth+1)
	}
	switch s.kind() {
	case "string":
		return appendString(b, "a \"quoted\" word "+strconv.Itoa(d.below(1000)))
	case "integer":
		return strconv.AppendInt(b, int64(d.below(1000)), 10)
	case "number":
		return append(strconv.AppendInt(b, int64(d.below(1000)), 10), ".25"...)
	case "boolean":
		return strconv.AppendBool(b, d.below(2) == 0)
	case "null":
		return append(b, "null"...)
	case "array":
		b = append(b, '[')
		b = appendInstance(b, s.Items, d, depth+1)
		return append(b, ']')
	default:
		return appendObject(b, s.Properties, d, depth)
	}
}

func appendObject(b []byte, properties map[string]json.RawMessage, d *draw, depth int) []byte {
	names := make([]string, 0, len(properties))
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = appendInstance(b, properties[name], d, depth+1)
	}
	return append(b, '}')
}

// kind is the type's name; the first of several.
func (s schema) kind() string {
	if name := text(s.Type); name != "" {
		return name
	}
	var several []string
	if json.Unmarshal(s.Type, &several) == nil && len(several) > 0 {
		return several[0]
	}
	return ""
}
