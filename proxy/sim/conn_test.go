package sim_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"manti/proxy/sim"
)

// TestConnDeadlines: reads and writes that can't go on end at their deadline,
// and one that is moved ends them when it says.
func TestConnDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := sim.Pipe()
		defer client.Close()
		defer server.Close()
		begun := time.Now()
		check := func(what string, err error, after time.Duration) {
			t.Helper()
			var timeout net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%s: error %v, want a timeout", what, err)
			}
			if got := time.Since(begun); got != after {
				t.Errorf("%s: after %v, want %v", what, got, after)
			}
		}
		_ = client.SetDeadline(begun.Add(time.Second))
		_, err := client.Read(make([]byte, 1))
		check("read", err, time.Second)
		_, err = client.Write([]byte("x"))
		check("write behind the deadline", err, time.Second)

		_ = client.SetWriteDeadline(begun.Add(3 * time.Second))
		n, err := client.Write(make([]byte, 1<<20))
		check("write into a full pipe", err, 3*time.Second)
		if n == 0 || n == 1<<20 {
			t.Errorf("wrote %d", n)
		}

		_ = client.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			_ = client.SetReadDeadline(time.Now()) // as net/http interrupts a read
		}()
		_, err = client.Read(make([]byte, 1))
		check("interrupted read", err, 4*time.Second)
	})
}

func TestConnEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		end              func(server net.Conn)
		readErr, sendErr error
	}{
		{"close", func(c net.Conn) { _ = c.Close() }, io.EOF, syscall.EPIPE},
		{"reset", sim.Reset, syscall.ECONNRESET, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client, server := sim.Pipe()
			if _, err := server.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			tt.end(server)
			var got bytes.Buffer
			_, err := got.ReadFrom(client)
			if tt.readErr == io.EOF && err != nil || tt.readErr != io.EOF && !errors.Is(err, tt.readErr) {
				t.Errorf("read ends with %v, want %v", err, tt.readErr)
			}
			if got.String() != "last words" {
				t.Errorf("read %q", got.String())
			}
			if _, err := client.Write([]byte("x")); !errors.Is(err, tt.sendErr) {
				t.Errorf("write ends with %v, want %v", err, tt.sendErr)
			}
			_ = client.Close()
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("own close: read ends with %v", err)
			}
		})
	}
}

// TestConnCarries: what is written arrives, whole and in order, however the
// two sides cut it.
func TestConnCarries(t *testing.T) {
	t.Parallel()
	client, server := sim.Pipe()
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	go func() {
		defer client.Close()
		for rest := want; len(rest) > 0; {
			n := min(1+len(rest)%70_001, len(rest))
			if _, err := client.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes of %d, error %v", len(got), len(want), err)
	}
}
