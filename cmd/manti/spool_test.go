package main_test

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"manti/db/dbtest"
	"manti/ledger/spool"
)

// What a crash leaves behind the log's end is cut off, and every call is there.
func TestTornTail(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	data, env := folder(t), provider.env().onDatabase(database.URL())
	killedAtWork(t, data, env, provider)
	path, end := lastSegment(t, data)
	// The first half of a record that was being written, and a page of something
	// else that the disk had there.
	record := readAt(t, path, 4096, 100)
	writeAt(t, path, end, record)
	writeAt(t, path, end+4096, []byte(strings.Repeat("old bytes ", 100)))

	p := serve(t, data, env).ready()
	if m := p.await(regexp.MustCompile(`"torn_bytes":(\d+)`)); atoi(t, m[1]) < 4096 {
		t.Errorf("it cut off %s bytes", m[1])
	}
	s := call(t.Context(), "http://"+p.addr, testKey, ask{"/v1/messages", quickModel, true}, "after the tear")
	if !s.whole {
		t.Errorf("a call after the repair: %+v", s)
	}
	awaitQuery(t, database.Pool(t, ""), "the calls that were cut off to be in the ledger",
		`SELECT count(*) = $1 FROM ledger.events WHERE kind = 'RequestCompleted'`, len(provider.Calls()))
	p.stop()
	ledger := readLedger(t, database.Pool(t, ""))
	checkBooks(t, provider.Calls(), ledger)
	checkSeen(t, []seen{s}, ledger)
}

// Bytes that were synced and are others now stop the start, with file and
// offset, and nothing is changed. Put right, it starts.
func TestFlippedByte(t *testing.T) {
	t.Parallel()
	database, provider := dbtest.Open(t, dbtest.Options{}), startProvider(t)
	data, env := folder(t), provider.env().onDatabase(database.URL())
	killedAtWork(t, data, env, provider)
	path, _ := lastSegment(t, data)
	const within = 4096 + 50 // the first frame
	old := readAt(t, path, within, 1)
	writeAt(t, path, within, []byte{old[0] ^ 1})
	before := readAt(t, path, 0, 1<<20)

	for range 2 {
		r := command(t, launch{args: []string{"--listen", "127.0.0.1:0", "--data", data}, env: env})
		if r.status != 1 || !strings.Contains(r.err, path+" is corrupt at offset 4096") {
			t.Errorf("the start on a damaged spool: %d %s", r.status, r.err)
		}
	}
	if string(readAt(t, path, 0, 1<<20)) != string(before) {
		t.Error("the damaged segment was changed")
	}
	writeAt(t, path, within, old)
	p := serve(t, data, env).ready()
	awaitQuery(t, database.Pool(t, ""), "the calls that were cut off to be in the ledger",
		`SELECT count(*) = $1 FROM ledger.events WHERE kind = 'RequestCompleted'`, len(provider.Calls()))
	p.stop()
	checkBooks(t, provider.Calls(), readLedger(t, database.Pool(t, "")))
}

// killedAtWork is a server that has served calls, was at one, and was killed.
func killedAtWork(t testing.TB, data string, env environment, provider *provider) *process {
	t.Helper()
	p := serve(t, data, env).ready()
	for _, a := range asks() {
		if s := call(t.Context(), "http://"+p.addr, testKey, a, "before the crash"); !s.whole {
			t.Fatalf("call: %+v", s)
		}
	}
	stream := openStream(t, p, slowModel)
	p.poll("a stream to be under way", func() bool { return open(provider.Calls()) == 1 })
	p.kill()
	if body, err := io.ReadAll(stream); err == nil && hasEnd("/v1/chat/completions", string(body)) {
		t.Fatal("the stream ended well, though the server was killed")
	}
	return p
}

// lastSegment is the file that the log ends in, and where it ends.
func lastSegment(t testing.TB, data string) (path string, end int64) {
	t.Helper()
	dir := filepath.Join(data, "spool")
	info, err := spool.Inspect(dir)
	if err != nil || info.Damage != nil {
		t.Fatal(err, info.Damage)
	}
	for _, s := range info.Segments {
		if s.Records > 0 {
			path, end = filepath.Join(dir, segmentName(s.Number)), s.End
		}
	}
	if path == "" {
		t.Fatalf("there is no record in %s: %+v", dir, info)
	}
	return path, end
}

func segmentName(n uint64) string {
	s := "0000000000" + itoa(int(n))
	return s[len(s)-10:] + ".seg"
}

func readAt(t testing.TB, path string, at int64, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	b := make([]byte, n)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	return b
}

func writeAt(t testing.TB, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
