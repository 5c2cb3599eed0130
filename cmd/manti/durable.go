package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"manti/domain"
	"manti/ledger"
	"manti/ledger/direct"
)

// durableInPostgres is the value of MANTI_DURABILITY for hosts without a disk;
// the other, and the usual one, is the spool.
const durableInPostgres = "postgres"

// openRecorder opens what makes calls durable: the spool, or a session in
// Postgres, which refuses calls until the database is there.
func (s *server) openRecorder() (err error) {
	if s.cfg.Durability != durableInPostgres {
		return s.openSpool()
	}
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	s.session = domain.NewID[domain.SpoolID](time.Now(), random)
	if s.direct, err = direct.New(direct.Config{Session: s.session, Replica: s.cfg.Replica, Log: s.log}); err != nil {
		return err
	}
	s.log.Info("calls are recorded in Postgres alone", "session", s.session)
	s.recorder, err = ledger.NewRecorder(ledger.RecorderConfig{Spool: s.direct, Log: s.log})
	return err
}

// recordedBy is what events name as their spool, and its epoch.
func (s *server) recordedBy() (domain.SpoolID, uint64) {
	if s.direct != nil {
		return s.session, 1
	}
	return domain.SpoolID(s.spool.ID()), s.spool.Epoch()
}

// unrecorded counts the ended calls that the ledger doesn't have yet.
func (s *server) unrecorded() int {
	if s.direct != nil {
		return s.direct.Waiting()
	}
	stats, err := s.spool.Stats()
	if err != nil {
		return 0 // the spool has failed, and said so
	}
	return int(stats.Unshipped)
}

// refused says, for /readyz, why no call can be recorded: without a spool, the
// database is what records it. What the database said is in the log.
func (s *server) refused() string {
	if s.direct == nil {
		return ""
	}
	switch err := s.direct.Ready(); {
	case err == nil:
		return ""
	case errors.Is(err, direct.ErrNotConnected):
		return "not connected to Postgres, which alone records calls"
	}
	return "Postgres, which alone records calls, takes none"
}

// ship carries what is recorded into the ledger until ctx ends.
func (c *control) ship(d database) (func(context.Context) error, error) {
	if c.direct != nil {
		return c.direct.Run, nil
	}
	shipper, err := ledger.NewShipper(ledger.ShipperConfig{Ledger: d.ledger, Spool: c.spool, Replica: c.cfg.Replica, Log: c.log, Registerer: c.registry})
	if err != nil {
		return nil, err
	}
	return shipper.Run, nil
}

// sweepEvery is the rhythm in which calls of dead sessions are looked for: a
// session is dead after a minute of silence.
const sweepEvery = 10 * time.Second

// sweep records the open calls of processes that recorded in Postgres alone and
// have died. Every server does so, however it records its own.
func (c *control) sweep(ctx context.Context, d database) error {
	for ctx.Err() == nil {
		n, err := direct.Sweep(ctx, d.pool, d.ledger)
		if n > 0 {
			c.log.Info("calls that were cut off are recorded as unknown", "calls", n)
		}
		if err != nil && ctx.Err() == nil {
			c.log.Debug("calls of dead sessions can't be looked for", "err", err)
		}
		sleep(ctx, sweepEvery)
	}
	return nil
}
