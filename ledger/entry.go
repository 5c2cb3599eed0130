package ledger

import (
	"time"

	"manti/domain"
)

// An Entry is one event with its place in the ledger.
type Entry struct {
	// Index counts from 0 without a gap, in the order of commit.
	Index int64
	// RecordedAt is when the ledger took the event, in whole microseconds; by
	// ascending index it never falls.
	RecordedAt time.Time
	// Event is decoded from the stored bytes. What has been erased is zero in it.
	Event domain.Event
	// Canonical are the stored bytes that the leaf is made of.
	Canonical []byte
}
