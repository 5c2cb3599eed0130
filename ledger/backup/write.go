package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/db"
)

// pieceBytes is the size of a piece: a tar entry says its size before its
// content, so a piece is in memory once.
const pieceBytes = 4 << 20

// Write writes a backup of the database to w, as of one moment. conn must be
// allowed to read the tables: the writer and the owner are. program is this
// program's version. An error leaves something that Restore refuses.
func Write(ctx context.Context, conn db.Beginner, w io.Writer, program string) (Manifest, error) {
	var m Manifest
	opts := db.TxOptions{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}}
	err := db.InTx(ctx, conn, opts, func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err := tx.Exec(ctx, steady); err != nil {
			return fmt.Errorf("set up the session: %w", err)
		}
		if m, err = readManifest(ctx, tx, program); err != nil {
			return err
		}
		return writeFile(ctx, tx, w, m)
	})
	if err != nil {
		return m, fmt.Errorf("back up: %w", err)
	}
	return m, nil
}

func writeFile(ctx context.Context, tx pgx.Tx, w io.Writer, m Manifest) error {
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	a := &archive{tar: tar.NewWriter(zip), at: m.MadeAt}
	if err := a.json(manifestName, m); err != nil {
		return err
	}
	var end ending
	for _, t := range m.Tables {
		done, err := writeTable(ctx, tx, a, t)
		if err != nil {
			return fmt.Errorf("table %s: %w", t, err)
		}
		end.Tables = append(end.Tables, done)
	}
	if err := a.json(endingName, end); err != nil {
		return err
	}
	return errors.Join(a.tar.Close(), zip.Close())
}

// writeTable writes a table's rows in the order of its primary key.
func writeTable(ctx context.Context, tx pgx.Tx, a *archive, t Table) (sum, error) {
	query := "COPY (SELECT " + columnList(t.Columns) + " FROM " + pgx.Identifier{t.Schema, t.Name}.Sanitize()
	if len(t.key) > 0 {
		query += " ORDER BY " + columnList(t.key)
	}
	p := &pieces{archive: a, table: t.String(), hash: sha256.New()}
	tag, err := tx.Conn().PgConn().CopyTo(ctx, p, query+") TO STDOUT")
	if err != nil {
		return sum{}, err
	}
	if err := p.flush(p.buf.Len()); err != nil {
		return sum{}, err
	}
	return sum{Table: t.String(), Rows: tag.RowsAffected(), Bytes: p.bytes, SHA256: hex.EncodeToString(p.hash.Sum(nil))}, nil
}

func columnList(columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// pieces cuts a table's rows into entries. In the text format of COPY a line
// feed ends a row and is nowhere else.
type pieces struct {
	*archive
	table string
	hash  hash.Hash
	buf   bytes.Buffer
	next  int // number of the next piece
	bytes int64
}

// Write takes rows, whole or not.
func (p *pieces) Write(rows []byte) (int, error) {
	p.buf.Write(rows)
	p.hash.Write(rows)
	p.bytes += int64(len(rows))
	if p.buf.Len() < pieceBytes {
		return len(rows), nil
	}
	if end := bytes.LastIndexByte(p.buf.Bytes(), '\n'); end >= 0 {
		if err := p.flush(end + 1); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// flush writes the first n bytes of the buffer as a piece.
func (p *pieces) flush(n int) error {
	if n == 0 {
		return nil
	}
	err := p.entry(fmt.Sprintf("%s/%06d.copy", p.table, p.next), p.buf.Next(n))
	p.next++
	return err
}

// archive is the file being written.
type archive struct {
	tar *tar.Writer
	at  time.Time
}

func (a *archive) entry(name string, content []byte) error {
	header := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: a.at, Format: tar.FormatPAX}
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := a.tar.Write(content)
	return err
}

func (a *archive) json(name string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return a.entry(name, append(content, '\n'))
}
