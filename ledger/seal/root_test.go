package seal_test

import (
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"manti/db/dbtest"
	"manti/ledger/seal"
)

func TestRootIsThatOfTheReference(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	appendCalls(t, pool, 300)
	ref := newReference(t, pool)
	for _, size := range []int64{0, 1, 2, 3, 7, 8, 255, 256, 257, 300} {
		got, err := seal.RootOf(t.Context(), pool, size)
		if want := ref.root(t, size); err != nil || got != want {
			t.Errorf("size %d: got %v, %v, want %v", size, got, err, want)
		}
	}
	if _, err := seal.RootOf(t.Context(), pool, 301); !errors.Is(err, seal.ErrBehind) {
		t.Errorf("got error %v, want %v", err, seal.ErrBehind)
	}
}

func TestCheckSaysWhatDiffers(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	appendCalls(t, pool, 10)
	root := newReference(t, pool).root(t, 7)
	tests := []struct {
		name string
		c    seal.Checkpoint
		want error
	}{
		{"whole", seal.Checkpoint{Origin: origin, Size: 7, Root: root}, nil},
		{"other root", seal.Checkpoint{Origin: origin, Size: 8, Root: root}, seal.ErrInconsistent},
		{"more than there is", seal.Checkpoint{Origin: origin, Size: 11, Root: root}, seal.ErrBehind},
		{"empty", seal.Checkpoint{Origin: origin, Root: emptyRoot(t)}, nil},
	}
	for _, tt := range tests {
		if err := seal.Check(t.Context(), pool, tt.c); !errors.Is(err, tt.want) {
			t.Errorf("%s: got error %v, want %v", tt.name, err, tt.want)
		}
	}
}

func emptyRoot(t testing.TB) tlog.Hash {
	t.Helper()
	h, err := tlog.TreeHash(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
