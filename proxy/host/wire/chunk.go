package wire

// Limits of chunked framing. A chunk's size line may carry extensions, which
// nobody uses: what is longer than this is an attack or an error.
const maxChunkLine = 4096

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	inSizeLF
	inData
	inDataCR
	inDataLF
	atTrailer   // at the start of the trailer section
	inTrailer   // in one of its fields
	inTrailerLF // behind the CR of the section's empty line
	chunksDone
)

// chunkDecoder undoes the chunked coding (RFC 9112 §7.1), whatever the pieces in
// which it comes. Its zero value stands before the first chunk.
type chunkDecoder struct {
	state   chunkState
	digits  int   // of the size, so far
	line    int   // length of the size line, so far
	left    int64 // of the current chunk; while inSize: the size, so far
	trailer []byte
	limit   int // of trailer
}

// decode moves the data within b to its front and returns how many bytes of
// data there are and how many bytes of b were used: all of them, but for what
// stands behind the end of the body.
func (d *chunkDecoder) decode(b []byte) (data, used int, err error) {
	for used < len(b) && d.state != chunksDone {
		if d.state == inData {
			n := int(min(d.left, int64(len(b)-used)))
			copy(b[data:], b[used:used+n])
			data += n
			used += n
			d.took(int64(n))
			continue
		}
		if err := d.step(b[used]); err != nil {
			return data, used, err
		}
		used++
	}
	return data, used, nil
}

// took notes n bytes of a chunk's data.
func (d *chunkDecoder) took(n int64) {
	if d.left -= n; d.left == 0 {
		d.state = inDataCR
	}
}

// step takes one byte that isn't data.
func (d *chunkDecoder) step(c byte) error {
	switch d.state {
	case inSize, inExtension:
		return d.sizeByte(c)
	case inSizeLF:
		if c != '\n' {
			return malformed("bad end of a chunk's size")
		}
		d.state = inData
		if d.left == 0 {
			d.state = atTrailer
		}
		d.digits, d.line = 0, 0
	case inDataCR:
		if c != '\r' {
			return malformed("chunk longer than its size")
		}
		d.state = inDataLF
	case inDataLF:
		if c != '\n' {
			return malformed("chunk longer than its size")
		}
		d.state = inSize
	default:
		return d.trailerByte(c)
	}
	return nil
}

func (d *chunkDecoder) sizeByte(c byte) error {
	if d.line++; d.line > maxChunkLine {
		return malformed("chunk's size line too long")
	}
	switch digit, hex := hexDigit(c); {
	case c == '\r' && d.digits > 0:
		d.state = inSizeLF
	case d.state == inExtension && (c == '\t' || c >= ' ' && c != 0x7f):
	case d.state == inSize && hex:
		if d.left >= 1<<58 { // four more bits, and room to spare
			return malformed("chunk too large")
		}
		d.left = d.left<<4 | digit
		d.digits++
	case d.digits > 0 && (c == ';' || c == ' ' || c == '\t'):
		d.state = inExtension
	default:
		return malformed("bad chunk size")
	}
	return nil
}

// trailerByte collects the trailer section, if there is one, up to and with its
// empty line.
func (d *chunkDecoder) trailerByte(c byte) error {
	switch d.state {
	case inTrailerLF:
		if c != '\n' {
			return malformed("bad end of the trailer")
		}
		d.state = chunksDone
		return nil
	case atTrailer:
		if c == '\r' {
			d.state = inTrailerLF
			return nil
		}
		d.state = inTrailer
	}
	if len(d.trailer) >= d.limit {
		return ErrHeaderTooLarge
	}
	d.trailer = append(d.trailer, c)
	if c == '\n' {
		if n := len(d.trailer); n < 2 || d.trailer[n-2] != '\r' {
			return malformed("bad end of a trailer line")
		}
		d.state = atTrailer
	}
	return nil
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}
