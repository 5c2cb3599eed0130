package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/ledger/spool"
)

// A spoolState is what a spool's directory said before the snapshot was taken.
type spoolState struct {
	dir  string
	info spool.Info
	err  error
}

func readSpoolStates(dirs []string) []spoolState {
	var states []spoolState
	for _, dir := range dirs {
		info, err := spool.Inspect(dir)
		states = append(states, spoolState{dir, info, err})
	}
	return states
}

// spoolAtOnce is how many records one query looks for.
const spoolAtOnce = 500

// checkSpool sees to it that what a spool has shipped stands in the ledger, with
// the same bytes, at the same place and time. That holds behind the last signed
// checkpoint too.
func (r *run) checkSpool(ctx context.Context, tx pgx.Tx, state spoolState) error {
	if state.err != nil {
		return state.err
	}
	archive, err := spool.OpenArchive(state.dir)
	if err != nil {
		return err
	}
	s := &spoolCheck{run: r, tx: tx, state: state}
	for record, err := range archive.All() {
		if damage, ok := errors.AsType[*spool.CorruptError](err); ok {
			r.note("spool " + state.dir + " is damaged, which says nothing of the ledger: " + damage.Error())
			continue
		}
		if err != nil {
			return err
		}
		if err := s.take(ctx, record); err != nil {
			return err
		}
	}
	return errors.Join(s.flushEnds(ctx), s.flushPlaces(ctx))
}

// A spoolCheck compares a spool's records in batches.
type spoolCheck struct {
	run    *run
	tx     pgx.Tx
	state  spoolState
	ends   []spooledEnd
	places []spool.Place
}

// A spooledEnd is a completion: its event, and whether an Ack covered it.
type spooledEnd struct {
	id        [16]byte
	digest    [32]byte // of the record
	canonical [32]byte
	at        time.Time
	acked     bool
}

func (s *spoolCheck) take(ctx context.Context, record spool.Record) error {
	switch record.Kind {
	case spool.End:
		enc, err := domain.ParseRecord(record.Payload)
		if err != nil {
			return nil // it can only have been rejected
		}
		s.ends = append(s.ends, spooledEnd{enc.ID, sha256.Sum256(record.Payload), sha256.Sum256(enc.Canonical()), record.At, record.Pos < s.state.info.Acked})
	case spool.Placed:
		places, err := spool.ParsePlaces(record.Payload)
		if err != nil {
			return err
		}
		s.places = append(s.places, places.Places...)
	case spool.Entry:
		return s.entry(ctx, record)
	}
	if len(s.ends) >= spoolAtOnce {
		if err := s.flushEnds(ctx); err != nil {
			return err
		}
	}
	if len(s.places) >= spoolAtOnce {
		return s.flushPlaces(ctx)
	}
	return nil
}

// flushEnds looks for completions in the ledger.
func (s *spoolCheck) flushEnds(ctx context.Context) error {
	ids, digests := make([][16]byte, 0, len(s.ends)), make([][]byte, 0, len(s.ends))
	for i := range s.ends {
		ids, digests = append(ids, s.ends[i].id), append(digests, s.ends[i].digest[:])
	}
	stored, rejected := make(map[[16]byte]spooledEvent), make(map[[32]byte]bool)
	var id [16]byte
	var e spooledEvent
	var canonical, digest []byte
	err := each(ctx, s.tx, "events of a spool", []any{&id, &e.index, &canonical}, func() error {
		e.canonical = sha256.Sum256(canonical)
		stored[id] = e
		return nil
	}, `SELECT i.id, i.index, e.canonical FROM ledger.ids i JOIN ledger.events e ON e.index = i.index WHERE i.id = ANY($1)`, ids)
	if err != nil {
		return err
	}
	err = each(ctx, s.tx, "rejected records of a spool", []any{&digest}, func() error {
		rejected[[32]byte(digest)] = true
		return nil
	}, `SELECT digest FROM ledger.rejected WHERE digest = ANY($1)`, digests)
	if err != nil {
		return err
	}
	for _, end := range s.ends {
		e, there := stored[end.id]
		switch {
		case there && e.canonical == end.canonical:
			s.run.report.SpoolRecords++
		case rejected[end.digest]:
		case there:
			s.run.found.add(Finding{Index: e.index, Table: tableEvents, Column: "canonical", Problem: "the spool in " + s.state.dir + " has other bytes of this event"})
		case end.acked:
			s.run.found.add(Finding{Index: NoIndex, Table: tableEvents, Problem: "an event that the spool in " + s.state.dir + " has shipped is not here",
				Expected: fmt.Sprintf("%s, completed %s", domain.EventID(end.id), end.at.UTC().Format(time.RFC3339Nano))})
		}
	}
	s.ends = s.ends[:0]
	return nil
}

type spooledEvent struct {
	index     int64
	canonical [32]byte
}

// flushPlaces compares where the ledger put records, and when.
func (s *spoolCheck) flushPlaces(ctx context.Context) error {
	indexes := make([]int64, 0, len(s.places))
	for _, p := range s.places {
		indexes = append(indexes, p.Index)
	}
	stored := make(map[int64]spool.Place)
	var p spool.Place
	err := each(ctx, s.tx, "places of a spool", []any{&p.Index, &p.ID, &p.At}, func() error {
		stored[p.Index] = p
		return nil
	}, `SELECT index, id, recorded_at FROM ledger.events WHERE index = ANY($1)`, indexes)
	if err != nil {
		return err
	}
	for _, want := range s.places {
		got, there := stored[want.Index]
		switch {
		case want.Index < 0 || want.Index >= s.run.head.Size: // set aside, or later than the snapshot
		case there && got.ID == want.ID && got.At.Equal(want.At):
		case want.At.Before(s.run.begunAnew): // void; the event itself is looked for by its id
		default:
			f := Finding{Index: want.Index, Table: tableEvents, Problem: "the spool in " + s.state.dir + " was told that another event or time stands here", Expected: placeText(want), Found: "nothing"}
			if there {
				f.Found = placeText(got)
			}
			s.run.found.add(f)
		}
	}
	s.places = s.places[:0]
	return nil
}

func placeText(p spool.Place) string {
	return domain.EventID(p.ID).String() + " at " + p.At.UTC().Format(time.RFC3339Nano)
}

// entry compares an entry that came from no spool and was copied into this one.
func (s *spoolCheck) entry(ctx context.Context, record spool.Record) error {
	want, err := spool.ParseCommitted(record.Payload)
	if err != nil {
		return fmt.Errorf("read spool %s at %s: %w", s.state.dir, record.Pos, err)
	}
	if want.Index >= s.run.head.Size {
		return nil
	}
	var at time.Time
	var canonical []byte
	err = s.tx.QueryRow(ctx, `SELECT recorded_at, canonical FROM ledger.events WHERE index = $1`, want.Index).Scan(&at, &canonical)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read event %d: %w", want.Index, err)
	}
	if there := at.Equal(want.At) && bytes.Equal(canonical, want.Canonical); !there && want.At.Before(s.run.begunAnew) {
		return s.appendedAnew(ctx, record, want)
	} else if !there {
		s.run.found.add(Finding{Index: want.Index, Table: tableEvents, Column: "canonical", Problem: "the spool in " + s.state.dir + " has another event or time of this index"})
		return nil
	}
	s.run.report.SpoolRecords++
	return nil
}

// appendedAnew looks for an entry whose place is void since the ledger began a new
// origin: recovery has appended it at another place, but for what speaks of places.
func (s *spoolCheck) appendedAnew(ctx context.Context, record spool.Record, want spool.Committed) error {
	if kind := domain.Kind(want.Kind); kind == domain.KindOriginStarted || kind == domain.KindPersonForgotten {
		return nil
	}
	var canonical []byte
	err := s.tx.QueryRow(ctx, `SELECT e.canonical FROM ledger.ids i JOIN ledger.events e ON e.index = i.index WHERE i.id = $1`, record.ID).Scan(&canonical)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read event %s: %w", domain.EventID(record.ID), err)
	}
	if !bytes.Equal(canonical, want.Canonical) {
		s.run.found.add(Finding{Index: NoIndex, Table: tableEvents, Problem: "an event that the spool in " + s.state.dir + " has from before a loss was accepted is not here: `manti recover` appends it",
			Expected: domain.EventID(record.ID).String()})
		return nil
	}
	s.run.report.SpoolRecords++
	return nil
}
