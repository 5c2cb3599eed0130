package wire

import "sync"

const (
	// smallBuffer serves heads, small bodies and slow streams, of which there are
	// thousands at a time.
	smallBuffer = 4 << 10
	// largeBuffer is taken while a body fills the small one with each read: it
	// saves seven of eight system calls.
	largeBuffer = 32 << 10
)

// buffers lends out byte slices of the two lengths above. Arrays are pooled by
// pointer, so neither get nor put allocates. Safe for concurrent use.
type buffers struct{ small, large sync.Pool }

func (p *buffers) getSmall() []byte {
	if b, ok := p.small.Get().(*[smallBuffer]byte); ok {
		return b[:]
	}
	return new([smallBuffer]byte)[:]
}

func (p *buffers) getLarge() []byte {
	if b, ok := p.large.Get().(*[largeBuffer]byte); ok {
		return b[:]
	}
	return new([largeBuffer]byte)[:]
}

// get returns a slice of at least n bytes.
func (p *buffers) get(n int) []byte {
	switch {
	case n <= smallBuffer:
		return p.getSmall()
	case n <= largeBuffer:
		return p.getLarge()
	default:
		return make([]byte, n)
	}
}

// put takes back a slice that get returned; any other length is dropped.
func (p *buffers) put(b []byte) {
	switch len(b) {
	case smallBuffer:
		p.small.Put((*[smallBuffer]byte)(b))
	case largeBuffer:
		p.large.Put((*[largeBuffer]byte)(b))
	}
}
