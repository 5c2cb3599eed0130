package sse

import "bytes"

// Append appends a frame to out: an event line unless event is "", and a data line for
// each line of data. Event must hold no line end.
func Append(out []byte, event string, data []byte) []byte {
	out = Begin(out, event)
	for {
		at := lineEnd(data, 0)
		if at < 0 {
			return End(append(out, data...))
		}
		out = append(append(out, data[:at]...), "\ndata: "...)
		data = bytes.TrimPrefix(data[at:], []byte("\r"))
		data = bytes.TrimPrefix(data, []byte("\n"))
	}
}

// Begin appends what comes before a frame's data: the caller appends data of one
// line (JSON without indentation is), then End.
func Begin(out []byte, event string) []byte {
	if event != "" {
		out = append(append(append(out, "event: "...), event...), '\n')
	}
	return append(out, "data: "...)
}

// End appends what comes after a frame's data.
func End(out []byte) []byte { return append(out, "\n\n"...) }

// Comment appends a comment frame, which every reader skips: it keeps a
// connection from looking idle. Text must hold no line end.
func Comment(out []byte, text string) []byte {
	return End(append(append(out, ": "...), text...))
}
