package sim

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers through net/http's server: slower than Serve, and for
// whoever has one. Faults that tear the connection hijack it; where it can't
// be hijacked (HTTP/2, a recorder) they panic with http.ErrAbortHandler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	in := incoming{
		method: r.Method, path: r.URL.Path, body: body,
		fault: r.Header.Get("sim-fault"), clientID: r.Header.Get("x-client-request-id"),
		key: r.Header.Get("x-api-key"),
	}
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		in.key = key
	}
	var c call
	c.serve(p, &response{p: p, w: w, r: r}, in)
}

// response is a wire over net/http.
type response struct {
	p       *Provider
	w       http.ResponseWriter
	r       *http.Request
	status  int
	written bool
}

var _ wire = (*response)(nil)

func (h *response) begin(status int, header []field, length int) {
	for _, f := range header {
		h.w.Header().Set(f.name, f.value)
	}
	if length >= 0 {
		h.w.Header().Set("Content-Length", strconv.Itoa(length))
	}
	h.status = status
}

func (h *response) write(part []byte) error {
	if !h.written {
		h.written = true
		h.w.WriteHeader(h.status)
	}
	if _, err := h.w.Write(part); err != nil {
		return err
	}
	return http.NewResponseController(h.w).Flush()
}

func (h *response) end() error { return nil }

func (h *response) hangup() { h.take(func(c net.Conn) {}) }

func (h *response) reset() {
	h.take(func(c net.Conn) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // then the close is a FIN; nothing else to be done
		}
	})
}

func (h *response) raw(bytes []byte) {
	h.take(func(c net.Conn) {
		_, _ = c.Write(bytes) // whoever is gone needs no garbage
	})
}

// take takes the connection from net/http, does something to it, and closes
// it.
func (h *response) take(do func(net.Conn)) {
	c, _, err := http.NewResponseController(h.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	do(c)
	_ = c.Close() // it is gone either way
}

func (h *response) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-h.r.Context().Done():
		return h.r.Context().Err()
	case <-h.p.closing:
		return errClosing
	}
}

func (h *response) stall() {
	select {
	case <-h.r.Context().Done():
	case <-h.p.closing:
	}
}
