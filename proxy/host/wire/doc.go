// Package wire is the HTTP/1.1 client with which calls reach a provider. It
// stands in for net/http's Transport, which hands each call to two more
// goroutines and so costs a relay more than all its other work together: here a
// call is written and read in the caller's own goroutine, over pooled
// connections, and a body is read in the very buffer that the socket filled.
//
// What it promises:
//
//   - A request is never sent twice. A call is repeated, once and on a fresh
//     connection, only if not one of its bytes went out, or if its method is
//     safe (GET, HEAD) and not one byte of an answer came back. Before a pooled
//     connection is used it is probed for what the peer did meanwhile, so that a
//     stale one is found before anything is written. What remains in doubt is
//     ErrAmbiguous; judging it belongs to the caller, who knows the price.
//   - A body ends when its framing says so. One that is cut short is
//     ErrTruncated or ErrReset, never io.EOF; no byte behind its end is ever
//     handed out, and a connection on which such a byte came is not used again.
//   - Cancelling the context ends whatever the call waits for, at once.
//   - Errors have one Kind each and hold no header value, path, query, body or
//     credential.
//   - An idle connection holds no buffer, and none has a goroutine. A call
//     starts a goroutine only if its request body is longer than 64 KiB: then a
//     provider that answers early (413) is heard while the body is still going
//     out.
//
// What it does not do: redirects, cookies, compression, Expect, upgrades. For a
// host that demands HTTP/2, an Origin runs on net/http's Transport behind the
// same methods (OriginConfig.HTTP2).
//
// Strictness, where RFC 9112 leaves a choice: a bare LF may end a line of the
// head, but not of chunked framing; obsolete line folding, white space before a
// colon, control characters in a value, differing Content-Lengths, and any
// transfer coding but a single "chunked" are refused as ErrMalformed. Where both
// Transfer-Encoding and Content-Length are given, the former holds, the latter
// is dropped, and the connection is not used again.
//
// Nothing is kept on disk; a crash loses open connections and nothing else.
package wire
