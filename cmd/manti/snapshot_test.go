package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manti/domain"
	"manti/projections"
	"manti/proxy/auth"
)

// someKey is a key with a hash of its own.
func someKey(n byte) (projections.Key, auth.Hash) {
	h := auth.Hash{n, 1, 2, 3}
	return projections.Key{ID: domain.KeyID{n}, Org: domain.OrgID{2}, Project: domain.ProjectID{3}, Hash: hex.EncodeToString(h[:])}, h
}

func someSnapshots(t testing.TB, path string, keys ...projections.Key) *snapshots {
	t.Helper()
	book, err := projections.BuiltinPrices()
	if err != nil {
		t.Fatal(err)
	}
	book.Version = domain.EventID{7}
	s := newSnapshots(path, nil)
	if err := s.load(projections.Snapshot{Index: 41, Keys: keys, Book: book}); err != nil {
		t.Fatal(err)
	}
	return s
}

// What was saved is what is restored, changes included, known to hold at the
// file's time; and the file is its owner's alone.
func TestSnapshotIsRestored(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshot.json")
	now := time.Now().Truncate(time.Microsecond)
	kept, keptHash := someKey(1)
	revoked, revokedHash := someKey(2)
	issued, issuedHash := someKey(3)
	expired, expiredHash := someKey(4)
	expired.Expires = now.Add(-time.Hour)
	s := someSnapshots(t, path, kept, revoked, expired)
	if err := s.save(true, now); err != nil {
		t.Fatal(err)
	}
	if err := s.apply(projections.Changes{Index: 43, Issued: []projections.Key{issued}, Revoked: []domain.KeyID{revoked.ID}}); err != nil {
		t.Fatal(err)
	}
	if err := s.save(true, now); err != nil {
		t.Fatal(err)
	}

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	restored := newSnapshots(path, nil)
	at, err := restored.restore()
	if err != nil || !at.Equal(info.ModTime()) {
		t.Errorf("restored as of %v, %v, want %v", at, err, info.ModTime())
	}
	if restored.index != 43 || restored.book.Version != (domain.EventID{7}) || len(restored.book.Models) != len(s.book.Models) {
		t.Errorf("restored index %d and a book of version %v with %d models", restored.index, restored.book.Version, len(restored.book.Models))
	}
	snap := restored.snapshot(at)
	if snap == nil || !snap.At.Equal(at) {
		t.Fatalf("the snapshot is %+v", snap)
	}
	for name, test := range map[string]struct {
		hash auth.Hash
		want bool
	}{"kept": {keptHash, true}, "issued": {issuedHash, true}, "revoked": {revokedHash, false}, "expired": {expiredHash, false}} {
		if who, ok := snap.Keys.Find(test.hash, now); ok != test.want || ok && who.Org != kept.Org {
			t.Errorf("the %s key: %t %+v", name, ok, who)
		}
	}
}

// While nothing changes, the file's time is renewed now and then: it says how
// old what is known is.
func TestSnapshotIsRenewed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshot.json")
	now := time.Now().Truncate(time.Second)
	s := someSnapshots(t, path)
	for _, step := range []struct {
		at, want time.Duration
		changed  bool
	}{{0, 0, true}, {touchEvery - time.Second, 0, false}, {touchEvery, touchEvery, false}, {touchEvery + time.Second, touchEvery, false}, {3 * touchEvery, 3 * touchEvery, false}} {
		if err := s.save(step.changed, now.Add(step.at)); err != nil {
			t.Fatal(err)
		}
		if step.changed { // the file has the time at which it was written
			if err := os.Chtimes(path, now, now); err != nil {
				t.Fatal(err)
			}
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.ModTime().Sub(now); got != step.want {
			t.Errorf("after %v the file is of %v, want %v", step.at, got, step.want)
		}
	}
}

// A file that isn't what was saved is named, and nobody is admitted by it.
func TestSnapshotDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshot.json")
	key, _ := someKey(1)
	if err := someSnapshots(t, path, key).save(true, time.Now()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"empty":         {},
		"cut":           whole[:len(whole)/2],
		"no JSON":       []byte("snapshot"),
		"other version": bytes.Replace(whole, []byte(`"v":1`), []byte(`"v":2`), 1),
		"short hash":    bytes.Replace(whole, []byte(key.Hash), []byte(key.Hash[:40]), 1),
		"long hash":     bytes.Replace(whole, []byte(key.Hash), []byte(key.Hash+"00"), 1),
		"odd hash":      bytes.Replace(whole, []byte(key.Hash), []byte("x"+key.Hash[1:]), 1),
		"other type":    []byte("[]"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "snapshot.json")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSnapshots(path, nil)
			at, err := s.restore()
			if !at.IsZero() || err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "%!") {
				t.Errorf("restored as of %v: %v", at, err)
			}
		})
	}
	if at, err := newSnapshots(path+".none", nil).restore(); !at.IsZero() || err != nil {
		t.Errorf("no file: %v, %v", at, err)
	}
}
