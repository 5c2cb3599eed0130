package verify_test

import (
	"crypto/sha256"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"manti/ledger/verify"
)

// The tree's root at every size is that of another implementation.
func TestRootsAreThoseOfRFC6962(t *testing.T) {
	t.Parallel()
	const most = 600
	stored := map[int64]tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	roots := verify.Roots(most, func(i int) [32]byte { return tlog.RecordHash([]byte{byte(i), byte(i >> 8)}) })
	if roots[0] != sha256.Sum256(nil) {
		t.Errorf("the empty tree's root is %x", roots[0])
	}
	for i := range int64(most) {
		hashes, err := tlog.StoredHashes(i, []byte{byte(i), byte(i >> 8)}, reader)
		if err != nil {
			t.Fatal(err)
		}
		for j, h := range hashes {
			stored[tlog.StoredHashIndex(0, i)+int64(j)] = h
		}
		want, err := tlog.TreeHash(i+1, reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := roots[i+1]; got != [32]byte(want) {
			t.Fatalf("root of %d leaves: got %x, want %x", i+1, got, want)
		}
	}
}
