package wire

import (
	"io"
	"net/http"
	"time"
)

// Response is an answer whose head has arrived.
type Response struct {
	Status int // 200 … 999
	// Header holds the end-to-end fields, by canonical name. Fields of the
	// connection (Connection and what it names, Keep-Alive, Transfer-Encoding …)
	// are gone.
	Header http.Header
	// Trailer is nil until Body has returned io.EOF, and after it if there was
	// none.
	Trailer http.Header
	// ContentLength is the length that the peer gave, also where there is no body
	// (HEAD); -1 if it gave none.
	ContentLength int64
	// FirstByte is when the first byte of the answer arrived.
	FirstByte time.Time
	// Reused says that the connection had carried a call before.
	Reused bool
	// Body is never nil. It must be closed, unless it was read to its end.
	Body Body
}

// Body is what an answer brings. It belongs to one goroutine; to end a read from
// elsewhere, cancel the call's context. Every error but io.EOF is an *Error.
type Body interface {
	// Next returns what has arrived, without copying it, and waits only if that
	// is nothing. Chunks that came together are returned together, without their
	// framing. The slice is valid until the next call of any method. It is never
	// empty, unless err is set; at the body's end err is io.EOF.
	Next() (data []byte, err error)
	// Read is io.Reader's; it waits only if nothing has arrived. A read longer
	// than what has arrived goes from the socket to p without a detour.
	io.Reader
	// Buffered is the number of bytes that Next or Read would return without
	// touching the socket.
	Buffered() int
	// Close ends the call. If the body was not at its end, and its end has not
	// arrived yet either, the connection goes with it. It may be called again;
	// it always returns nil.
	io.Closer
}
