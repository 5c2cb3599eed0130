package ledger

import (
	"crypto/rand"
	"fmt"
	"time"

	"manti/domain"
	"manti/ledger/spool"
)

// UnknownCall is the event of a call of which only the start is known, as
// domain.EncodeStarted wrote it. One that can't be read becomes a record that
// Append rejects and keeps: an alarm.
func UnknownCall(id domain.EventID, start []byte) domain.Encoded {
	event, err := unknownEvent(spool.Call{ID: id, Start: spool.Record{Payload: start}})
	if err == nil {
		var enc domain.Encoded
		if enc, err = encodeCall(event.ID, event.At, event.Body.(*domain.RequestCompleted)); err == nil {
			return enc
		}
	}
	return domain.Encoded{ID: id, Kind: domain.KindRequestCompleted, Public: start}
}

// Superseding makes of a call's event one that supersedes what is in the ledger
// under its id: the completion of a call that was taken for dead. It has an id
// of its own and is otherwise the same.
func Superseding(enc domain.Encoded) (domain.Encoded, error) {
	event, err := domain.Decode(enc)
	if err != nil {
		return domain.Encoded{}, fmt.Errorf("supersede: %w", err)
	}
	call, ok := event.Body.(*domain.RequestCompleted)
	if !ok {
		return domain.Encoded{}, fmt.Errorf("supersede: %s is not the end of a call", event.Body.Kind())
	}
	call.Request, call.Supersedes = call.RequestID(enc.ID), enc.ID
	var random [10]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never returns an error
	return encodeCall(domain.NewID[domain.EventID](time.Now(), random), event.At, call)
}
