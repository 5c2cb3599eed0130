package spool_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"manti/ledger/spool"
)

// TestFormat holds the encoders to bytes that were written once: what is on disks already must stay readable.
func TestFormat(t *testing.T) {
	t.Parallel()
	spoolID := [16]byte{0: 0xaa, 15: 0xbb}
	rec := spool.Record{
		Kind: spool.End, Carried: true, ID: [16]byte{0: 1, 15: 2}, Epoch: 3,
		At: time.UnixMicro(1_700_000_000_123_456), Payload: []byte("payload"),
	}
	header := spool.EncodeHeader(spoolID, 7, 64<<20, 3)
	sum := sha256.Sum256(header)
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"frame", spool.AppendFrame(nil, spoolID, 7, 4160, rec, 4096), "07000000c9d124920301000000100000030000000000000040222018240a060001000000000000000000000000000002" +
			"7061796c6f616400"},
		{"meta", spool.EncodeMeta(spoolID, 3), "6d616e746973706c0100000000000000aa0000000000000000000000000000bb030000000000000000000000cbe622a5"},
		{"cursor", spool.EncodeCursor(spoolID, 9, spool.At(7, 4160), spool.At(7, 4216)), "6d616e7469637572aa0000000000000000000000000000bb090000000000000040100000070000007810000007000000" +
			"000000000000000000000000c0333385"},
		{"header", append(header[:64:64], header[4088:]...), "6d616e74697365670100000000000000aa0000000000000000000000000000bb07000000000000000000000400000000" +
			"0300000000000000000000000000000000000000db9f3a11"},
		{"header's SHA-256", sum[:], "1a1024a3c44f76615c944767564efd991a911654ca3061ca9dbaab0ebfeb4667"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := hex.EncodeToString(tt.got); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
