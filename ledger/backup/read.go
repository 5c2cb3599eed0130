package backup

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// ErrDamaged is returned for a file that isn't a whole backup.
var ErrDamaged = errors.New("the backup is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// maxJSON bounds manifest.json and end.json.
const maxJSON = 1 << 20

// reader walks through a file.
type reader struct {
	zip      *gzip.Reader
	tar      *tar.Reader
	manifest Manifest
	header   *tar.Header // of the entry that is next to be read; nil behind the last
}

// open reads the manifest.
func open(r io.Reader) (*reader, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, damaged("it is no backup: %w", err)
	}
	b := &reader{zip: zip, tar: tar.NewReader(zip)}
	if err := b.advance(); err != nil {
		return nil, err
	}
	if err := b.json(manifestName, &b.manifest); err != nil {
		return nil, err
	}
	if f := b.manifest.Format; f < 1 || f > Format {
		return nil, fmt.Errorf("the backup has format %d, this program reads up to %d: use a newer manti", f, Format)
	}
	return b, nil
}

// advance goes to the next entry.
func (b *reader) advance() error {
	header, err := b.tar.Next()
	if errors.Is(err, io.EOF) {
		b.header = nil
		return nil
	}
	if err != nil {
		return damaged("%w", err)
	}
	b.header = header
	return nil
}

// json reads the entry of that name and goes to the next.
func (b *reader) json(name string, v any) error {
	if b.header == nil || b.header.Name != name || b.header.Size > maxJSON {
		return damaged("%s is missing", name)
	}
	content, err := io.ReadAll(b.tar)
	if err == nil {
		err = json.Unmarshal(content, v)
	}
	if err != nil {
		return damaged("%s: %w", name, err)
	}
	return b.advance()
}

// table is the rows of a table, which is next in the file.
func (b *reader) table(t Table) *rows {
	return &rows{reader: b, prefix: t.String() + "/", hash: sha256.New()}
}

// rows is the content of a table's pieces, one behind the other.
type rows struct {
	*reader
	prefix string
	next   int
	inside bool
	hash   hash.Hash
	lines  int64
	bytes  int64
	err    error // what ended it, but for io.EOF
}

// Read returns io.EOF behind the table's last piece.
func (r *rows) Read(p []byte) (int, error) {
	n, err := r.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func (r *rows) read(p []byte) (int, error) {
	for {
		if !r.inside {
			if r.header == nil || !strings.HasPrefix(r.header.Name, r.prefix) {
				return 0, io.EOF
			}
			if want := fmt.Sprintf("%s%06d.copy", r.prefix, r.next); r.header.Name != want {
				return 0, damaged("%s instead of %s", r.header.Name, want)
			}
			r.inside, r.next = true, r.next+1
		}
		n, err := r.tar.Read(p)
		r.saw(p[:n])
		if err == nil || n > 0 && errors.Is(err, io.EOF) {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			return n, damaged("%w", err)
		}
		r.inside = false
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
}

func (r *rows) saw(p []byte) {
	r.hash.Write(p)
	r.bytes += int64(len(p))
	for _, c := range p {
		if c == '\n' {
			r.lines++
		}
	}
}

func (r *rows) sum(t Table) sum {
	return sum{Table: t.String(), Rows: r.lines, Bytes: r.bytes, SHA256: hex.EncodeToString(r.hash.Sum(nil))}
}

// finish compares what was read with the file's end.
func (b *reader) finish(read []sum) error {
	var end ending
	if err := b.json(endingName, &end); err != nil {
		return err
	}
	if b.header != nil {
		return damaged("%s behind its end", b.header.Name)
	}
	if _, err := io.Copy(io.Discard, b.zip); err != nil { // checks the file's own sum
		return damaged("%w", err)
	}
	for i, got := range read {
		if i >= len(end.Tables) || end.Tables[i] != got {
			return damaged("the rows of %s are not those that were written", got.Table)
		}
	}
	if len(end.Tables) != len(read) {
		return damaged("tables are missing")
	}
	return nil
}

// Check reads a whole backup without a database: ErrDamaged if it isn't what
// was written. It detects damage, not an attacker, who can change the sums too:
// for that restore it and run manti verify.
func Check(r io.Reader) (Manifest, error) {
	b, err := open(r)
	if err != nil {
		return Manifest{}, fmt.Errorf("check backup: %w", err)
	}
	var read []sum
	for _, t := range b.manifest.Tables {
		rows := b.table(t)
		if _, err := io.Copy(io.Discard, rows); err != nil {
			return b.manifest, fmt.Errorf("check backup: table %s: %w", t, err)
		}
		read = append(read, rows.sum(t))
	}
	if err := b.finish(read); err != nil {
		return b.manifest, fmt.Errorf("check backup: %w", err)
	}
	return b.manifest, nil
}

// missing lists those of want that have doesn't have.
func missing(want, have []string) (names []string) {
	for _, w := range want {
		if !slices.Contains(have, w) {
			names = append(names, w)
		}
	}
	return names
}
