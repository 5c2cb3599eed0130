// Package sse reads and writes server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html), frame by
// frame, for a relay: a [Scanner] is fed bytes as they arrive and gives back
// whole frames with their exact bytes.
//
// It promises that the frames' Raw bytes, put together, are the input; that
// how the input was cut into reads never changes the frames; that no frame is
// longer than the limit; and that between frames a Scanner holds no memory.
//
// Where it deviates from the specification it does so for a relay's sake:
// comments and empty lines are frames too (they must pass through), and a
// frame that the end of the input cuts short is given out by [Scanner.Close]
// (providers forget the last empty line).
//
// All state is in memory; there is nothing to recover after a crash.
package sse
