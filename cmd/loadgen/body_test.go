package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestBody reads bodies of every framing, in reads of every size.
func TestBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, header, wire, want string
		err                      error
		last                     bool
	}{
		{"length", "Content-Length: 5\r\n", "hello", "hello", nil, false},
		{"length, more behind", "content-length:5\r\n", "helloHTTP/1.1", "hello", nil, false},
		{"none", "Content-Length: 0\r\n", "", "", nil, false},
		{"short", "Content-Length: 9\r\n", "hello", "hello", io.ErrUnexpectedEOF, false},
		{"chunked", "Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello", nil, false},
		{"trailer", "transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\nA: b\r\n\r\n", "hello", nil, false},
		{"chunk cut", "Transfer-Encoding: chunked\r\n", "5\r\nhel", "hel", io.ErrUnexpectedEOF, false},
		{"no last chunk", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n", "hello", io.ErrUnexpectedEOF, false},
		{"no chunk", "Transfer-Encoding: chunked\r\n", "xyz\r\n", "", errChunk, false},
		{"chunk too long", "Transfer-Encoding: chunked\r\n", "2\r\nhello\r\n0\r\n\r\n", "he", errChunk, false},
		{"until the end", "Connection: close\r\n", "hello", "hello", nil, true},
		{"close with length", "Connection: Close\r\nContent-Length: 2\r\n", "hi", "hi", nil, true},
	} {
		for name, reader := range map[string]io.Reader{"whole": strings.NewReader(tt.wire), "bytes": iotest.OneByteReader(strings.NewReader(tt.wire))} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				t.Parallel()
				b := &body{read: bufio.NewReader(reader), left: -1}
				for line := range strings.Lines(tt.header) {
					b.header([]byte(line))
				}
				var got strings.Builder
				var err error
				for err == nil {
					var part []byte
					part, err = b.next()
					got.Write(part)
				}
				if err == io.EOF {
					err = nil
				}
				if got.String() != tt.want || !errors.Is(err, tt.err) || b.last != tt.last {
					t.Errorf("got %q, %v, last %v; want %q, %v, %v", got.String(), err, b.last, tt.want, tt.err, tt.last)
				}
			})
		}
	}
}
