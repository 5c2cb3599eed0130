package wire

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// framing says where a body ends (RFC 9112 §6.3).
type framing uint8

const (
	noBody  framing = iota
	sized           // after Content-Length bytes
	chunked         // after the last chunk and the trailer
	toClose         // where the peer closes
)

// head is an answer's head, understood.
type head struct {
	status int
	header http.Header   // end-to-end fields only
	length int64         // Content-Length; -1: not given
	keep   time.Duration // how long the peer keeps an idle connection; 0: not said

	chunked    bool // Transfer-Encoding: chunked
	contradict bool // both lengths were given
	http10     bool
	closes     bool // Connection: close
	keeps      bool // Connection: keep-alive
}

// malformed is the cause under an ErrMalformed; it quotes nothing.
type malformed string

func (m malformed) Error() string { return string(m) }

// headEnd returns the length of the head that b begins with, 0 while it has no
// end. The first `from` bytes are known not to hold it.
func headEnd(b []byte, from int) int {
	for i := max(from-3, 0); ; {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return 0
		}
		i += lf + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}

// parseHead parses a head that headEnd has found. The fields' strings are parts
// of s.
func parseHead(s string) (head, error) {
	h := head{length: -1}
	line, rest := cutLine(s)
	if err := h.statusLine(line); err != nil {
		return head{}, err
	}
	var f fields
	if err := f.parse(rest, &h); err != nil {
		return head{}, err
	}
	if err := h.transferCoding(f.codings, f.codingLines); err != nil {
		return head{}, err
	}
	f.dropNominated()
	h.header = f.header
	if h.contradict {
		delete(h.header, "Content-Length")
		h.length = -1
	}
	return h, nil
}

// cutLine splits s behind its first LF and removes the line's end.
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// statusLine reads "HTTP/1.1 200 OK"; the reason, and the space before it, may
// be missing.
func (h *head) statusLine(line string) error {
	const proto = "HTTP/1."
	if len(line) < len("HTTP/1.1 200") || line[:len(proto)] != proto || line[8] != ' ' {
		return malformed("no HTTP/1 status line")
	}
	switch line[7] {
	case '0':
		h.http10 = true
	case '1':
	default:
		return malformed("unknown HTTP version")
	}
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return malformed("bad status code")
		}
		h.status = h.status*10 + int(c-'0')
	}
	if len(line) > 12 && line[12] != ' ' || h.status < 100 {
		return malformed("bad status code")
	}
	return nil
}

// transferCoding accepts one "chunked" and nothing else (RFC 9112 §6.1).
func (h *head) transferCoding(codings string, lines int) error {
	if lines == 0 {
		return nil
	}
	if h.http10 {
		return malformed("transfer coding in an HTTP/1.0 answer")
	}
	if lines > 1 || !strings.EqualFold(codings, "chunked") {
		return malformed("unsupported transfer coding")
	}
	h.chunked = true
	h.contradict = h.length >= 0
	return nil
}

// body says how the body that follows is framed, and whether the connection may
// be used again behind it.
func (h *head) body(method string) (framing, bool) {
	reuse := !h.closes && !h.contradict && (!h.http10 || h.keeps)
	switch {
	case method == "HEAD" || h.status == http.StatusNotModified:
		return noBody, reuse
	case h.status == http.StatusNoContent:
		return noBody, reuse && !h.chunked && h.length <= 0
	case h.chunked:
		return chunked, reuse
	case h.length == 0:
		return noBody, reuse
	case h.length > 0:
		return sized, reuse
	default:
		return toClose, false
	}
}

// fields collects header fields; what concerns only the connection goes to a
// head instead, or nowhere.
type fields struct {
	header      http.Header
	values      []string // backs the header's one-element slices
	nominations []string // fields that a Connection field names
	codings     string
	codingLines int
}

// parse reads lines up to the empty one. A trailer has no head: h is nil then,
// and fields of framing are dropped from it (RFC 9110 §6.5.1).
func (f *fields) parse(s string, h *head) error {
	n := strings.Count(s, "\n")
	f.header = make(http.Header, n)
	f.values = make([]string, 0, n)
	for s != "" {
		var line string
		if line, s = cutLine(s); line == "" {
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) { // an obsolete fold begins with a space: no token
			return malformed("bad header name")
		}
		value = strings.Trim(value, " \t")
		if !httpguts.ValidHeaderFieldValue(value) {
			return malformed("bad header value")
		}
		if err := f.add(textproto.CanonicalMIMEHeaderKey(name), value, h); err != nil {
			return err
		}
	}
	return nil
}

func (f *fields) add(key, value string, h *head) error {
	switch key {
	case "Content-Length":
		if h == nil {
			return nil
		}
		if first, err := h.contentLength(value); err != nil || !first {
			return err
		}
	case "Transfer-Encoding":
		f.codings = value
		f.codingLines++
		return nil
	case "Connection":
		f.connection(value, h)
		return nil
	case "Keep-Alive":
		if h != nil {
			h.keep = keepAliveTimeout(value)
		}
		return nil
	case "Proxy-Connection", "Upgrade", "Te":
		return nil
	}
	if old, ok := f.header[key]; ok {
		f.header[key] = append(old, value)
		return nil
	}
	f.values = append(f.values, value)
	n := len(f.values)
	f.header[key] = f.values[n-1 : n : n]
	return nil
}

// contentLength reads a length; a repeated one must be the same (RFC 9110 §8.6).
func (h *head) contentLength(value string) (first bool, err error) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return false, malformed("bad Content-Length")
	}
	if h.length >= 0 && h.length != int64(n) {
		return false, malformed("differing Content-Lengths")
	}
	first = h.length < 0
	h.length = int64(n)
	return first, nil
}

// connection reads the options of a Connection field; any but the two known
// ones names a field that goes no further than this connection.
func (f *fields) connection(value string, h *head) {
	for option := range strings.SplitSeq(value, ",") {
		switch option = strings.Trim(option, " \t"); {
		case h != nil && strings.EqualFold(option, "close"):
			h.closes = true
		case h != nil && strings.EqualFold(option, "keep-alive"):
			h.keeps = true
		case option != "":
			f.nominations = append(f.nominations, option)
		}
	}
}

func (f *fields) dropNominated() {
	for _, name := range f.nominations {
		delete(f.header, textproto.CanonicalMIMEHeaderKey(name))
	}
}

// keepAliveTimeout reads "timeout=5, max=100" and stays clear of the peer's
// limit by a second, or by half of a shorter one; 0 if there is none to read.
func keepAliveTimeout(value string) time.Duration {
	for param := range strings.SplitSeq(value, ",") {
		name, number, _ := strings.Cut(strings.Trim(param, " \t"), "=")
		if !strings.EqualFold(name, "timeout") {
			continue
		}
		seconds, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return 0
		}
		d := time.Duration(seconds) * time.Second
		return max(d-time.Second, d/2, 1) // 0 would mean: not said
	}
	return 0
}
