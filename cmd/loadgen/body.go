package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// body reads an answer's body in the pieces in which it arrives.
type body struct {
	read    *bufio.Reader
	left    int64 // of the body, or of a chunk; -1: until the end of the connection
	chunked bool
	begun   bool // a chunk has been read
	ended   bool
	last    bool // the connection ends with this answer
}

var (
	errChunk     = errors.New("no chunk")
	headerLength = []byte("content-length:")
	headerCoding = []byte("transfer-encoding:")
	headerConn   = []byte("connection:")
)

// header notes what a line of the header says of the body.
func (b *body) header(line []byte) {
	switch {
	case hasFold(line, headerLength):
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(line[len(headerLength):])), 10, 64); err == nil {
			b.left = n
		}
	case hasFold(line, headerCoding):
		b.chunked, b.left = true, 0
	case hasFold(line, headerConn):
		b.last = bytes.Contains(bytes.ToLower(line), []byte("close"))
	}
}

func hasFold(line, prefix []byte) bool {
	return len(line) >= len(prefix) && bytes.EqualFold(line[:len(prefix)], prefix)
}

// next is the next piece, valid until the next call, or io.EOF after the last.
func (b *body) next() ([]byte, error) {
	if b.chunked && b.left == 0 && !b.ended {
		if err := b.chunk(); err != nil {
			return nil, err
		}
	}
	if b.ended || b.left == 0 {
		return nil, io.EOF
	}
	if _, err := b.read.Peek(1); err != nil {
		if b.left < 0 && err == io.EOF {
			b.ended, b.last = true, true
			return nil, io.EOF
		}
		return nil, noEnd(err)
	}
	n := b.read.Buffered()
	if b.left >= 0 {
		n = int(min(int64(n), b.left))
		b.left -= int64(n)
	}
	part, err := b.read.Peek(n)
	if err != nil {
		return nil, err
	}
	_, err = b.read.Discard(n)
	return part, err
}

// chunk reads a chunk's first line, and behind the last chunk the trailer.
func (b *body) chunk() error {
	if b.begun {
		if line, err := b.read.ReadSlice('\n'); err != nil || len(line) > 2 {
			return noEnd(errors.Join(errChunk, err))
		}
	}
	b.begun = true
	line, err := b.read.ReadSlice('\n')
	if err != nil {
		return noEnd(err)
	}
	size, _, _ := bytes.Cut(line, []byte{';'})
	if b.left, err = strconv.ParseInt(string(bytes.TrimSpace(size)), 16, 64); err != nil {
		return errors.Join(errChunk, err)
	}
	if b.left > 0 {
		return nil
	}
	b.ended = true
	for {
		line, err := b.read.ReadSlice('\n')
		if err != nil {
			return noEnd(err)
		}
		if len(line) <= 2 {
			return nil
		}
	}
}

// noEnd makes an end of the connection before the end of the body an error.
func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
