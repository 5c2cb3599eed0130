package sim

import (
	"errors"
	"time"
)

// A wire carries one answer to whoever asked. There are two: net/http's, and
// the simulator's own loop, which also does what net/http can't.
type wire interface {
	// begin sets status and header; a length of -1 is a body of unknown
	// length. Nothing leaves before the first write.
	begin(status int, header []field, length int)
	// write sends a part of the body at once.
	write(part []byte) error
	// end ends the body as HTTP prescribes.
	end() error
	// hangup closes the connection where it is, reset tears it.
	hangup()
	reset()
	// raw sends bytes that need be no HTTP, and closes the connection.
	raw(bytes []byte)
	// wait returns after d, or before with an error if the caller is known to
	// be gone or the provider closes.
	wait(d time.Duration) error
	// stall returns when the caller is gone or the provider closes.
	stall()
}

type field struct{ name, value string }

// errClosing is returned by waits that the provider's Close ends.
var errClosing = errors.New("sim: the provider is closing")

// incoming is what a wire's server has read of a request.
type incoming struct {
	method, path string
	key          string // of Authorization: Bearer, or x-api-key
	fault        string // sim-fault
	clientID     string // x-client-request-id
	body         []byte
}
