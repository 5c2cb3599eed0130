package ledger_test

import (
	"context"
	"log/slog"
	"testing"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
	"manti/ledger/spool"
)

// shipped tells when the nth record is acknowledged.
type shipped struct {
	*spool.Spool
	left int
	done chan struct{}
}

func (s *shipped) Ack(b spool.Batch) error {
	if s.left -= len(b.Records); s.left <= 0 {
		close(s.done)
	}
	return s.Spool.Ack(b)
}

// BenchmarkShip empties a spool of 5000 calls into the ledger: what a backlog
// costs, with its places.
func BenchmarkShip(b *testing.B) {
	const events = 5000
	pool := dbtest.New(b)
	for b.Loop() {
		b.StopTimer()
		s := &shipped{Spool: fullSpool(b, events), left: events, done: make(chan struct{})}
		shipper, err := ledger.NewShipper(ledger.ShipperConfig{Ledger: ledger.New(pool), Spool: s, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		b.StartTimer()
		ended := make(chan error, 1)
		go func() { ended <- shipper.Run(ctx) }()
		<-s.done
		b.StopTimer()
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func fullSpool(b *testing.B, n int) *spool.Spool {
	s, err := spool.Open(spool.Config{Dir: b.TempDir(), MaxRecordBytes: domain.MaxRecordBytes})
	if err != nil {
		b.Fatal(err)
	}
	room := make(chan error, 50)
	for range cap(room) {
		room <- nil
	}
	for range n {
		if err := <-room; err != nil {
			b.Fatal(err)
		}
		enc := encode(b, domain.Event{Body: newCall()})
		if _, err := s.Start(enc.ID, nil, domain.MaxRecordBytes); err != nil {
			b.Fatal(err)
		}
		go func() { room <- s.End(enc.ID, enc.AppendRecord(nil)) }()
	}
	for range cap(room) {
		if err := <-room; err != nil {
			b.Fatal(err)
		}
	}
	return s
}
