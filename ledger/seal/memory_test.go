package seal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"manti/ledger/seal"
)

func openDir(t testing.TB, path string) *seal.Dir {
	t.Helper()
	d, err := seal.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirSwapsOnlyWhatIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "checkpoints")
	d := openDir(t, path)
	steps := []struct {
		name     string
		old, new string
		want     error
		then     string
	}{
		{"not empty", "x", "a", seal.ErrChanged, ""},
		{"first", "", "a", nil, "a"},
		{"first again", "", "b", seal.ErrChanged, "a"},
		{"second", "a", "b", nil, "b"},
		{"late", "a", "c", seal.ErrChanged, "b"},
	}
	for _, s := range steps {
		if err := d.Swap(t.Context(), []byte(s.old), []byte(s.new)); !errors.Is(err, s.want) {
			t.Fatalf("%s: got error %v, want %v", s.name, err, s.want)
		}
		if got, err := openDir(t, path).Load(t.Context()); err != nil || string(got) != s.then {
			t.Fatalf("%s: got %q, %v, want %q", s.name, got, err, s.then)
		}
	}
	left, err := filepath.Glob(filepath.Join(path, ".new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Those who swap at once don't overwrite each other: each step of a counter
// is made once. Each has a Dir of its own, as processes do.
func TestDirIsForManyAtOnce(t *testing.T) {
	t.Parallel()
	const each, workers = 10, 4
	path := t.TempDir()
	var wg sync.WaitGroup
	for range workers {
		d := openDir(t, path)
		wg.Go(func() {
			for done := 0; done < each; {
				old, err := d.Load(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(old)) // nothing yet is 0
				switch err := d.Swap(t.Context(), old, fmt.Append(nil, n+1)); {
				case err == nil:
					done++
				case !errors.Is(err, seal.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, err := openDir(t, path).Load(t.Context()); err != nil || string(got) != strconv.Itoa(each*workers) {
		t.Errorf("got %s, %v, want %d", got, err, each*workers)
	}
}

func TestDirSaysWhatItCantDo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenDir(filepath.Join(file, "x")); err == nil {
		t.Error("a directory below a file is opened")
	}
	d := openDir(t, t.TempDir())
	if err := os.RemoveAll(d.Path()); err != nil {
		t.Fatal(err)
	}
	if err := d.Swap(t.Context(), nil, []byte("a")); err == nil {
		t.Error("a checkpoint is kept in a directory that is gone")
	}
}
