package sim

import (
	"strings"
	"unicode/utf8"
)

// words are what simulated models talk with. None needs escaping in JSON; some
// aren't ASCII, so that relays meet it.
const words = `the of and to in is that it for on with as this by from at an be are was not or have which
ledger entry balance token stream answer model request cost price budget window account invoice the the a
river station signal harbour lantern garden winter copper window engine market letter morning paper stone
quiet steady bright narrow distant careful plain early single double hidden open final exact small whole
carries counts returns follows reaches measures keeps brings holds opens closes joins leads turns settles
café naïve Zürich — Ωmega 東京 данные señal déjà smörgås 10 24 1000 3.5 one two three seven slowly often`

// corpusTokens is the length of the corpus; an answer is a stretch of it.
const (
	corpusTokens = 16384
	maxOutput    = corpusTokens / 2
)

// corpus is one long text that all answers are cut from.
type corpus struct {
	text string
	cuts []int32 // where each token begins, and the end
}

func newCorpus() corpus {
	list := strings.Fields(words)
	d := draw{state: golden}
	var text strings.Builder
	cuts := make([]int32, 0, corpusTokens+1)
	for range corpusTokens {
		cuts = append(cuts, int32(text.Len()))
		text.WriteString(list[d.below(len(list))])
		if d.below(12) == 0 {
			text.WriteByte('.')
		}
		text.WriteByte(' ')
	}
	cuts = append(cuts, int32(text.Len()))
	return corpus{text: text.String(), cuts: cuts}
}

// stretch is n tokens of the corpus, from a place that the draw chooses.
func (c corpus) stretch(d *draw, n int) speech {
	n = min(n, maxOutput)
	from := d.below(corpusTokens - n)
	return speech{text: c.text, cuts: c.cuts[from : from+n+1], safe: true}
}

// A speech is a text in tokens.
type speech struct {
	text string
	cuts []int32 // cuts[i] is where token i begins, the last one the end
	// size, if set, stands for cuts: count tokens of so many bytes each.
	size, count int
	safe        bool // needs no escaping in JSON
}

// newSpeech cuts a text into tokens of about four bytes, between runes.
func newSpeech(text string) speech {
	cuts := []int32{0}
	for at := 0; at < len(text); {
		next := min(at+4, len(text))
		for next < len(text) && !utf8.RuneStart(text[next]) {
			next++
		}
		cuts = append(cuts, int32(next))
		at = next
	}
	return speech{text: text, cuts: cuts}
}

func (s speech) tokens() int {
	if s.size > 0 {
		return s.count
	}
	return max(len(s.cuts)-1, 0)
}

// span is the text of the tokens i up to but without j.
func (s speech) span(i, j int) string {
	if i >= j {
		return ""
	}
	if s.size > 0 {
		return s.text[i*s.size : j*s.size]
	}
	return s.text[s.cuts[i]:s.cuts[j]]
}

func (s speech) whole() string { return s.span(0, s.tokens()) }

// first is the first n tokens of a speech.
func (s speech) first(n int) speech {
	if n >= s.tokens() {
		return s
	}
	if s.size > 0 {
		s.count = n
		return s
	}
	s.cuts = s.cuts[:n+1]
	return s
}

// before ends a speech where the first of the sequences begins, which it
// returns; "" if none appears.
func (s speech) before(sequences []string) (speech, string) {
	text := s.whole()
	end, found := len(text), ""
	for _, seq := range sequences {
		if at := strings.Index(text, seq); seq != "" && at >= 0 && at < end {
			end, found = at, seq
		}
	}
	if found == "" {
		return s, ""
	}
	return s.upTo(end), found
}

// upTo is the first n bytes of a speech; the last token may become shorter.
func (s speech) upTo(n int) speech {
	short := speech{text: s.text, safe: s.safe}
	start := s.start()
	for i := range s.tokens() {
		at := s.at(i)
		if at >= start+n {
			break
		}
		short.cuts = append(short.cuts, int32(at))
	}
	short.cuts = append(short.cuts, int32(start+n))
	return short
}

func (s speech) start() int { return s.at(0) }

func (s speech) at(i int) int {
	if s.size > 0 {
		return i * s.size
	}
	return int(s.cuts[i])
}

// appendText appends a piece of a speech as the inside of a JSON string.
func appendText(b []byte, s string, safe bool) []byte {
	if safe {
		return append(b, s...)
	}
	return appendEscaped(b, s)
}

// appendEscaped appends s as the inside of a JSON string (RFC 8259 §7).
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch ch := s[i]; {
		case ch == '"' || ch == '\\':
			b = append(b, '\\', ch)
		case ch == '\n':
			b = append(b, '\\', 'n')
		case ch < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
		default:
			b = append(b, ch)
		}
	}
	return b
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	b = appendEscaped(b, s)
	return append(b, '"')
}
