package wire

import (
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Field is one header field of a request. Its name is sent as it is written.
type Field struct{ Name, Value string }

// Request is one call. It isn't changed, and may be sent again.
type Request struct {
	Method string // "POST"
	// Path, with its query if there is one, follows the Origin's path as it is:
	// "/v1/messages?beta=true". It must be escaped already.
	Path string
	// Fields are the header, in the order in which it is sent. What frames the
	// message or belongs to the connection (Host, Content-Length, Connection,
	// Transfer-Encoding, Expect …) is the client's own: such a field is refused.
	Fields []Field
	// Body is sent as one body, slice by slice, without being copied together.
	// The slices must not change until Do has returned an error, or the
	// Response's Body has been read to its end or closed.
	Body [][]byte
}

// length is the body's, in bytes.
func (r *Request) length() int64 {
	var n int64
	for _, b := range r.Body {
		n += int64(len(b))
	}
	return n
}

// safe says whether repeating the call changes nothing (RFC 9110 §9.2.1).
func (r *Request) safe() bool { return r.Method == "GET" || r.Method == "HEAD" }

// check refuses what would break the framing, or smuggle a second request in.
func (r *Request) check() *Error {
	switch {
	case !isToken(r.Method) || r.Method == "CONNECT":
		return invalid("bad method")
	case !isTarget(r.Path):
		return invalid("bad path")
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case !isToken(f.Name):
			return invalid("bad header name")
		case isOurs(f.Name):
			return invalid("header " + f.Name + " is not the caller's to set")
		case !httpguts.ValidHeaderFieldValue(f.Value):
			return invalid("bad value of header " + f.Name)
		}
	}
	return nil
}

// appendHead appends the whole head, empty line included.
func (r *Request) appendHead(b []byte, o *Origin) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, o.prefix...)
	if !strings.HasPrefix(r.Path, "/") && o.rootless {
		b = append(b, '/')
	}
	b = append(b, r.Path...)
	b = append(b, o.lines...)
	for i := range r.Fields {
		b = append(b, r.Fields[i].Name...)
		b = append(b, ": "...)
		b = append(b, r.Fields[i].Value...)
		b = append(b, "\r\n"...)
	}
	if n := r.length(); n > 0 || r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH" {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, n, 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// isOurs names the fields that only the client may write: those of framing and
// of the connection (RFC 9110 §7.6.1, RFC 9112).
func isOurs(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "TE")
	case 4:
		return strings.EqualFold(name, "Host")
	case 6:
		return strings.EqualFold(name, "Expect")
	case 7:
		return strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "Trailer")
	case 10:
		return strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Keep-Alive")
	case 14:
		return strings.EqualFold(name, "Content-Length")
	case 16:
		return strings.EqualFold(name, "Proxy-Connection")
	case 17:
		return strings.EqualFold(name, "Transfer-Encoding")
	case 19:
		return strings.EqualFold(name, "Proxy-Authorization")
	}
	return false
}

// isToken is RFC 9110 §5.6.2's token.
func isToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }

// isTarget says whether s is visible ASCII with which a path, or a query, may
// go on, and has no fragment.
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
			return false
		}
	}
	return s == "" || s[0] == '/' || s[0] == '?'
}
