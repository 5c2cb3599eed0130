package verify

import (
	"bytes"
	"cmp"
	"slices"
)

// erasable compares the row of an erasable part.
func (m *matcher) erasable(e *entry) {
	m.isInt64(erasableIndex, e.index)
	m.is(erasableID, e.enc.ID[:])
	m.is(erasableSalt, e.enc.ErasableSalt[:])
	m.is(erasableData, e.enc.Erasable)
	m.null(erasableName)
	m.part(e.enc.Erasable)
	m.open()
	m.text(erasableEndUser, "end_user")
	m.text(erasableSession, "session")
	m.text(erasableClient, "client")
	m.text(erasableTrace, "trace")
	m.tags(erasableTags)
	m.text(erasableServedModel, "served_model")
	m.text(erasableErrorText, "error_text")
	m.close()
}

// maxTags is how many tags there may be.
const maxTags = 10

// tags compares an object of strings with jsonb in the form that Postgres gives it:
// shorter keys first, a space behind each colon and comma.
func (m *matcher) tags(c int) {
	if !m.member("tags") {
		m.null(c)
		return
	}
	var space [maxTags]tag
	tags := space[:0]
	m.open()
	for !m.bad && !m.has(`}`) {
		if len(tags) == maxTags {
			m.bad = true
			return
		}
		if !m.first {
			m.literal(`,`)
		}
		m.first = false
		name := m.str()
		m.literal(`:`)
		tags = append(tags, tag{name, m.str()})
	}
	m.first = false
	m.isTags(c, tags)
}

type tag struct{ name, value []byte }

func (m *matcher) isTags(c int, tags []tag) {
	if len(tags) == 0 {
		m.null(c)
		return
	}
	slices.SortFunc(tags, func(a, b tag) int {
		return cmp.Or(cmp.Compare(len(a.name), len(b.name)), bytes.Compare(a.name, b.name))
	})
	rest := m.column(c)
	next := func(text []byte) {
		after, ok := bytes.CutPrefix(rest, text)
		rest, m.bad = after, m.bad || !ok
	}
	next([]byte("\x01{\""))
	for i, t := range tags {
		if i > 0 {
			m.bad = m.bad || bytes.Equal(t.name, tags[i-1].name)
			next([]byte(`, "`))
		}
		next(t.name)
		next([]byte(`": "`))
		next(t.value)
		next([]byte(`"`))
	}
	next([]byte(`}`))
	m.bad = m.bad || len(rest) > 0
}
