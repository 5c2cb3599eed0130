package openai

import "bytes"

// StripUsage appends the frame to out without its outermost "usage" member. Of
// a frame that holds only usage (no choices) nothing remains. Any other byte stays as it
// is. A frame whose JSON runs over several data lines stays whole: no server is
// known to write one.
func (Dialect) StripUsage(frame, out []byte) []byte {
	from, to := dataLine(frame)
	if from < 0 || !bytes.Contains(frame, []byte(`"usage"`)) {
		return append(out, frame...)
	}
	cutFrom, cutTo, onlyUsage := usageMember(frame[from:to])
	switch {
	case cutFrom < 0:
		return append(out, frame...)
	case onlyUsage:
		return out
	}
	out = append(out, frame[:from+cutFrom]...)
	return append(out, frame[from+cutTo:]...)
}

// dataLine spans the value of a frame's only data line; from is -1 if there is
// none or several.
func dataLine(frame []byte) (from, to int) {
	from = -1
	for at := 0; at < len(frame); {
		end := bytes.IndexByte(frame[at:], '\n')
		if end < 0 {
			end = len(frame) - at
		}
		if cr := bytes.IndexByte(frame[at:at+end], '\r'); cr >= 0 {
			end = cr
		}
		if bytes.HasPrefix(frame[at:at+end], []byte("data:")) {
			if from >= 0 {
				return -1, -1
			}
			from, to = at+len("data:"), at+end
		}
		at += end + 1
	}
	return from, to
}

// usageMember spans the outermost "usage" member of a chunk with one comma
// beside it, and reports whether the chunk has nothing else of worth.
func usageMember(doc []byte) (from, to int, onlyUsage bool) {
	from = -1
	counted, chosen := false, false
	w := walk(doc)
	for {
		before, start := w.at, w.start()
		key, value, ok := w.member()
		if !ok {
			break
		}
		switch string(key) {
		case "usage":
			from, to = before, w.at
			if doc[space(doc, before)] != ',' { // the first member: the comma after it goes
				from = start
				if to = w.start(); to < len(doc) && doc[to] == '}' {
					to = w.at
				}
			}
			counted = isKind(value, '{')
		case "choices":
			inner := walk(value)
			_, chosen = inner.element()
		}
	}
	if end := space(doc, w.at); end >= len(doc) || doc[end] != '}' {
		return -1, -1, false // broken: it stays as it is
	}
	return from, to, counted && !chosen
}
