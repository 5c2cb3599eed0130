package sse

import "bytes"

// parse reads the fields of a frame.
func (s *Scanner) parse(raw []byte) Frame {
	f := Frame{Raw: raw}
	rest := raw
	if !s.begun {
		rest = bytes.TrimPrefix(rest, []byte(bom))
		s.begun = true
	}
	joined := false
	for len(rest) > 0 {
		line := rest
		if at := lineEnd(rest, 0); at < 0 {
			rest = nil
		} else {
			line, rest = rest[:at], rest[at+1:]
		}
		name, value := field(line)
		switch {
		case string(name) == "event":
			f.Event = value
		case string(name) != "data":
			// id, retry and unknown fields matter to the receiver only; the LF of
			// a CRLF looks like an empty line here.
		case f.Data == nil:
			f.Data = value
		case !joined:
			s.join = append(append(append(s.join[:0], f.Data...), '\n'), value...)
			f.Data, joined = s.join, true
		default:
			s.join = append(append(s.join, '\n'), value...)
			f.Data = s.join
		}
	}
	return f
}

// field splits a line into its name and value, without the one space that may follow
// the colon. Value is never nil; a comment's name is empty.
func field(line []byte) (name, value []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return line, line[len(line):]
	}
	value = line[colon+1:]
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return line[:colon], value
}
