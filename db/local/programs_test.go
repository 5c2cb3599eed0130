package local_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"manti/db/local"
)

// nothingHere is the config of a machine without PostgreSQL and without a network.
func nothingHere(dir string) local.Config {
	return local.Config{DataDir: dir, SystemGlobs: []string{}, FetchCommand: []string{"-"}}
}

func TestNoPrograms(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	_, err := local.Start(t.Context(), nothingHere(dir))
	if err == nil {
		t.Fatal("started without programs")
	}
	for _, want := range []string{dir, "no PostgreSQL (15 or newer)", "install", "MANTI_PG_BIN", "DATABASE_URL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q doesn't say %q", err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres", "cluster")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cluster was begun: %v", err)
	}
}

func TestClusterOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	versionFile := filepath.Join(dir, "postgres", "cluster", "PG_VERSION")
	if err := os.MkdirAll(filepath.Dir(versionFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(versionFile, []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	handOver(t, filepath.Dir(versionFile))
	_, err := local.Start(t.Context(), config(dir))
	if err == nil || !strings.Contains(err.Error(), "made by PostgreSQL 99") || !strings.Contains(err.Error(), "postgresql-99") {
		t.Errorf("got %v, want which version to install", err)
	}
	if content, err := os.ReadFile(versionFile); err != nil || string(content) != "99\n" {
		t.Errorf("the cluster was touched: %q, %v", content, err)
	}
}

func TestFolderThatIsNoCluster(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	file := filepath.Join(dir, "postgres", "cluster", "diary.txt")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("dear diary"), 0o600); err != nil {
		t.Fatal(err)
	}
	handOver(t, filepath.Dir(file))
	_, err := local.Start(t.Context(), config(dir))
	if err == nil || !strings.Contains(err.Error(), "nothing is done to it") {
		t.Errorf("got %v, want that the folder is left alone", err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "dear diary" {
		t.Errorf("the folder was touched: %q, %v", content, err)
	}
}

// handOver gives the folder to the account that root's servers run as, as if it
// were a cluster that had been made earlier.
func handOver(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

func TestRemovesOnlyWhatIsProvablyHalfMade(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files []string
		kept  bool
	}{
		{"interrupted initdb", []string{"cluster-1/PG_VERSION", "cluster-1.making"}, false},
		{"without our mark", []string{"cluster-1/PG_VERSION"}, true},
		{"has been served", []string{"cluster-1/PG_VERSION", "cluster-1/postmaster.opts", "cluster-1.making"}, true},
		{"another name", []string{"clusters/PG_VERSION", "clusters.making"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := usedDir(t)
			var path string
			for _, name := range test.files {
				file := filepath.Join(dir, "postgres", name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if path == "" {
					path = file
				}
			}
			start(t, config(dir))
			_, err := os.Stat(path)
			if kept := err == nil; kept != test.kept {
				t.Errorf("%s kept: %v, want %v (%v)", path, kept, test.kept, err)
			}
		})
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	needLinux(t)
	repository := httptest.NewServer(fakeRepository(t))
	t.Cleanup(repository.Close)
	dir := dataDir(t)
	cfg := nothingHere(dir)
	cfg.FetchCommand, cfg.Repository = nil, repository.URL
	server := start(t, cfg)
	remember(t, server.URL())
	stop(t, server)

	repository.Close() // the second start needs it no more
	entries, err := os.ReadDir(filepath.Join(dir, "pgsql"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || strings.HasPrefix(entries[0].Name(), ".") {
		t.Errorf("left beside the programs: %v", entries)
	}
	again := start(t, cfg)
	checkRemembered(t, again.URL())
}

func TestFetchFails(t *testing.T) {
	t.Parallel()
	needLinux(t)
	tests := []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"not there", http.NotFound},
		{"not an archive", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<html>log in to the hotel's network</html>")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			repository := httptest.NewServer(test.handler)
			t.Cleanup(repository.Close)
			dir := dataDir(t)
			cfg := nothingHere(dir)
			cfg.FetchCommand, cfg.Repository = nil, repository.URL
			_, err := local.Start(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), "fetching it failed") || !strings.Contains(err.Error(), "DATABASE_URL") {
				t.Errorf("got %v, want that fetching failed and what to do", err)
			}
			entries, err := os.ReadDir(filepath.Join(dir, "pgsql"))
			if err != nil || len(entries) != 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

// fakeRepository serves an archive like the real one's, whose programs call the
// machine's.
func fakeRepository(t *testing.T) http.Handler {
	t.Helper()
	archive := jar(t)
	sum := sha256.Sum256(archive)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/io/zonky/test/postgres/embedded-postgres-binaries-"):
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".jar"):
			_, _ = w.Write(archive) // the test sees what is missing
		case strings.HasSuffix(r.URL.Path, ".jar.sha256"):
			fmt.Fprint(w, hex.EncodeToString(sum[:]))
		}
	})
}

// jar returns a zip with a .txz with bin/postgres, bin/initdb and bin/pg_ctl.
func jar(t *testing.T) []byte {
	t.Helper()
	real := programDir(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "initdb", "pg_ctl"} {
		script := fmt.Sprintf("#!/bin/sh\nexec %s/%s \"$@\"\n", real, name)
		if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	txz, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-cJf", "-", "bin").Output()
	if err != nil {
		t.Skipf("needs tar and xz: %v", err)
	}
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	file, err := writer.Create("postgres-linux-x86_64.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(txz); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// programDir returns where the programs that run on a fresh folder come from.
func programDir(t *testing.T) string {
	t.Helper()
	server := start(t, config(usedDir(t)))
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", server.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(dir)
}
