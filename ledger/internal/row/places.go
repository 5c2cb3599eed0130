package row

import (
	"io"
	"slices"
	"time"
)

// EventsAt is Events for rows that were recorded at times of their own.
func EventsAt(rows []Row, first int64, recordedAt []time.Time) io.Reader {
	i := -1
	return newReader(eventFields, func(t tuple) (tuple, []byte, bool) {
		if i++; i == len(rows) {
			return nil, nil, false
		}
		return appendEventPlace(t, first+int64(i), recordedAt[i], rows[i].Canonical), rows[i].event, true
	})
}

// WithoutErasable is the row of an event whose erasable part was erased: its
// canonical bytes still name it.
func (r Row) WithoutErasable() Row {
	r.erasable = nil
	r.Canonical = slices.Clone(r.Canonical)
	return r
}
