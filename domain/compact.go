package domain

// compacter checks and compacts JSON of the plain form that providers' usage objects have: no escape and nothing beyond
// ASCII in its strings. It is several times as fast as encoding/json, which is asked about all else, and there is such
// an object in each call.
type compacter struct {
	src  []byte
	i    int
	dst  []byte
	keep bool // append to dst, else only check
}

// maxPlainDepth bounds the recursion; usage objects have two or three levels.
const maxPlainDepth = 16

// compactPlain is src without white space, in memory of its own; false if it isn't plain, valid or not.
func compactPlain(src []byte) ([]byte, bool) {
	c := compacter{src: src, dst: make([]byte, 0, len(src)), keep: true}
	ok := c.value(0)
	c.space()
	return c.dst, ok && c.i == len(src)
}

// isPlainJSON reports whether src is plain JSON; if not it may be valid all the same.
func isPlainJSON(src []byte) bool {
	c := compacter{src: src}
	ok := c.value(0)
	c.space()
	return ok && c.i == len(src)
}

func (c *compacter) space() {
	for c.i < len(c.src) {
		switch c.src[c.i] {
		case ' ', '\n', '\t', '\r':
			c.i++
		default:
			return
		}
	}
}

// peek is the next byte behind white space, 0 at the end.
func (c *compacter) peek() byte {
	c.space()
	if c.i == len(c.src) {
		return 0
	}
	return c.src[c.i]
}

// take appends what stands up to end, and moves behind it.
func (c *compacter) take(end int) {
	if c.keep {
		c.dst = append(c.dst, c.src[c.i:end]...)
	}
	c.i = end
}

// one takes the byte b, behind white space; false if there is another.
func (c *compacter) one(b byte) bool {
	if c.peek() != b {
		return false
	}
	c.take(c.i + 1)
	return true
}

func (c *compacter) value(depth int) bool {
	switch b := c.peek(); {
	case depth == maxPlainDepth:
		return false
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.array(depth)
	case b == '"':
		return c.string()
	case b == '-' || b >= '0' && b <= '9':
		return c.number()
	}
	return c.word("null") || c.word("true") || c.word("false")
}

func (c *compacter) object(depth int) bool {
	c.take(c.i + 1)
	if c.one('}') {
		return true
	}
	for c.string() && c.one(':') && c.value(depth+1) {
		if !c.one(',') {
			return c.one('}')
		}
	}
	return false
}

func (c *compacter) array(depth int) bool {
	c.take(c.i + 1)
	if c.one(']') {
		return true
	}
	for c.value(depth + 1) {
		if !c.one(',') {
			return c.one(']')
		}
	}
	return false
}

func (c *compacter) string() bool {
	if c.peek() != '"' {
		return false
	}
	for end := c.i + 1; end < len(c.src); end++ {
		switch b := c.src[end]; {
		case b == '"':
			c.take(end + 1)
			return true
		case b == '\\' || b < ' ' || b > '~':
			return false
		}
	}
	return false
}

// number takes an integer, with a fraction perhaps; exponents are for others.
func (c *compacter) number() bool {
	end := c.i
	if c.src[end] == '-' {
		end++
	}
	whole := c.digits(end)
	if whole == end || c.src[end] == '0' && whole > end+1 {
		return false
	}
	if end = whole; end < len(c.src) && c.src[end] == '.' {
		if whole = c.digits(end + 1); whole == end+1 {
			return false
		}
		end = whole
	}
	if end < len(c.src) && c.src[end]|0x20 == 'e' {
		return false
	}
	c.take(end)
	return true
}

// digits is where the digits from from on end.
func (c *compacter) digits(from int) int {
	for from < len(c.src) && c.src[from] >= '0' && c.src[from] <= '9' {
		from++
	}
	return from
}

func (c *compacter) word(w string) bool {
	if end := c.i + len(w); end <= len(c.src) && string(c.src[c.i:end]) == w {
		c.take(end)
		return true
	}
	return false
}
