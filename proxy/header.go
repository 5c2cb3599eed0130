package proxy

import (
	"fmt"
	"net/http"

	"manti/domain"
)

// maxHeaderBytes bounds a request's line and header fields. Callers need two or
// three KB, long traces and many betas included; net/http would hold far more in
// memory for each of many connections.
const maxHeaderBytes = 64 << 10

// limitHeader refuses requests with a larger header, in the dialect of the
// caller. What is larger than the server's own limit doesn't come this far:
// net/http answers it with a bare 431.
func (g *Gateway) limitHeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if headerBytes(r) <= maxHeaderBytes {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close") // a body may follow that nobody reads
		g.refuse(w, r, &domain.Error{Code: domain.CodeHeaderTooLarge, Message: fmt.Sprintf("The request's header is larger than %d bytes.", maxHeaderBytes)})
	})
}

// headerBytes is about what a request's line and fields took on the wire.
func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}
