package wire_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
)

// trusting is a TLS configuration that knows the server's certificate.
func trusting(srv *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return &tls.Config{RootCAs: pool}
}
