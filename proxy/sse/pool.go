package sse

import "sync"

// Buffers begin small, since most hold part of one small frame, and large ones aren't
// kept: one image must not cost each later stream its size.
const (
	minBufferBytes  = 2 << 10
	maxPooledBuffer = 64 << 10
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, minBufferBytes)
	return &b
}}

// grow is b, or a pooled buffer if b is nil, with room for n bytes more.
func grow(b *[]byte, n int) *[]byte {
	if b == nil {
		b = buffers.Get().(*[]byte)
	}
	if cap(*b)-len(*b) < n {
		larger := make([]byte, len(*b), max(2*cap(*b), len(*b)+n))
		copy(larger, *b)
		*b = larger
	}
	return b
}

func put(b *[]byte) {
	if b == nil || cap(*b) > maxPooledBuffer {
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
}
