package dialect

import "encoding/json"

// Splice is the body to send upstream: the caller's bytes with the model's
// name replaced by model (if it differs) and usage asked for at a stream's
// end. The pieces are slices of body where nothing changes, so a large body is
// held once.
func (h Head) Splice(body []byte, model string, usage bool) [][]byte {
	type edit struct {
		from, to int
		with     []byte
	}
	var edits [2]edit
	n := 0
	if e := h.edits; e.ModelFrom >= 0 && model != h.Model {
		quoted, _ := json.Marshal(model) // a string always marshals
		edits[n], n = edit{e.ModelFrom, e.ModelTo, quoted}, n+1
	}
	if e := h.edits; usage && e.UsageInsert != "" {
		edits[n], n = edit{e.UsageFrom, e.UsageTo, []byte(e.UsageInsert)}, n+1
	}
	if n == 2 && edits[1].from < edits[0].from {
		edits[0], edits[1] = edits[1], edits[0]
	}
	pieces := make([][]byte, 0, 2*n+1)
	at := 0
	for _, e := range edits[:n] {
		if e.from > at {
			pieces = append(pieces, body[at:e.from])
		}
		pieces = append(pieces, e.with)
		at = e.to
	}
	return append(pieces, body[at:])
}
