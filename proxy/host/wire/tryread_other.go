//go:build !unix

package wire

import "errors"

// canTryRead is false where a socket can't be read without waiting: there an
// idle connection is probed by a read whose deadline has passed, which finds
// what crypto/tls holds but not what the kernel does.
const canTryRead = false

func tryRead(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
