//go:build unix

package wire

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const canTryRead = true

// tryRead reads from a socket that Go keeps in non-blocking mode. Nothing there
// is os.ErrDeadlineExceeded, which crypto/tls takes for temporary; the peer's
// end is io.EOF.
func tryRead(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == nil && n == 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, os.ErrDeadlineExceeded
		default:
			return 0, os.NewSyscallError("read", err)
		}
	}
}
