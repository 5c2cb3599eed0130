package spool

// Room: a Start is accepted only while the preallocated files cover the largest completion of every open
// call, so that no completion ever has to wait for disk space.

var (
	sealSize = frameSize(0) // the last frame of a segment
	headSize = frameSize(4) // the first
)

// segmentRoom is what a fresh segment of this size holds besides its header, head and seal.
func segmentRoom(size int64) int64 { return size - headerSize - headSize - sealSize }

// A room is the state that admission is decided on; all numbers are bytes.
type room struct {
	active   int64 // left in the active segment, its seal apart
	spares   int64 // number of preallocated segments behind it
	spare    int64 // segmentRoom of each
	carried  int64 // what a rotation writes again: the records of all open calls
	reserved int64 // the largest completions of all open calls
	largest  int64 // the largest frame: what the end of a segment can waste
}

// place is the room after a frame of n bytes has been written, where it fits: here, or in the next spare behind the
// carried records. It is false if there is no such place.
func (r room) place(n int64) (room, bool) {
	if n <= r.active {
		r.active -= n
		return r, true
	}
	if r.spares == 0 || r.spare-r.carried < n {
		return r, false
	}
	r.spares--
	r.active = r.spare - r.carried - n
	return r, true
}

// covered says whether all that is reserved can be written without another file, in any order: each rotation may waste
// up to one frame at the segment's end and writes what is carried again.
func (r room) covered() bool {
	return r.reserved <= max(r.active, r.total())
}

// total is what completions can count on when all spares are used.
func (r room) total() int64 {
	if r.spares == 0 {
		return r.active
	}
	perSpare := r.spare - r.carried
	if perSpare < r.largest {
		return r.active // the carried records leave nothing of a spare
	}
	return max(0, r.active-r.largest) + r.spares*perSpare - (r.spares-1)*r.largest
}

// tight says whether the preallocator should add a spare: there is none, or open calls hold half of the room.
func (r room) tight() bool { return r.spares == 0 || 2*r.reserved > r.total() }
