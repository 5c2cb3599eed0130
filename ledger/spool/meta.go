package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
)

const (
	metaName  = "meta"
	metaMagic = "mantispl"
	metaSize  = 48
)

// meta is the spool's identity: its id for ever and the epoch of its last Open.
type meta struct {
	id    [16]byte
	epoch uint64
}

func (m meta) encode() []byte {
	b := make([]byte, metaSize)
	copy(b, metaMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	copy(b[16:32], m.id[:])
	binary.LittleEndian.PutUint64(b[32:], m.epoch)
	binary.LittleEndian.PutUint32(b[44:], crc32.Checksum(b[:44], castagnoli))
	return b
}

func decodeMeta(b []byte) (meta, error) {
	if len(b) != metaSize || string(b[:8]) != metaMagic {
		return meta{}, errors.New("this is not a meta file")
	}
	if crc32.Checksum(b[:44], castagnoli) != binary.LittleEndian.Uint32(b[44:]) {
		return meta{}, errors.New("the meta file doesn't match its checksum")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return meta{}, fmt.Errorf("the spool has format version %d, this program knows %d", v, formatVersion)
	}
	m := meta{epoch: binary.LittleEndian.Uint64(b[32:])}
	copy(m.id[:], b[16:32])
	return m, nil
}

// readMeta returns the meta of dir; fs.ErrNotExist if there is none.
func readMeta(disk FS, dir string) (meta, error) {
	path := filepath.Join(dir, metaName)
	b, err := readFile(disk, path, metaSize+1)
	if err != nil {
		return meta{}, err
	}
	m, err := decodeMeta(b)
	if err != nil {
		return meta{}, &CorruptError{File: path, Offset: 0, Reason: err.Error()}
	}
	return m, nil
}

// newMeta is the identity of a spool that is made now; its id is a random UUID (version 4).
func newMeta() meta {
	var m meta
	_, _ = rand.Read(m.id[:]) // never fails
	m.id[6] = m.id[6]&0x0f | 0x40
	m.id[8] = m.id[8]&0x3f | 0x80
	return m
}

// replaceFile puts a file of these bytes in the place of name: after a crash the old or the new one is there, whole.
func replaceFile(disk FS, name string, b []byte) error {
	tmp := name + tmpExt
	f, err := disk.Create(tmp)
	if err != nil {
		return err
	}
	if err := writeFull(f, b, 0); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := disk.Rename(tmp, name); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(name))
}

// readFile returns the first bytes of a file, at most limit.
func readFile(disk FS, name string, limit int) ([]byte, error) {
	f, err := disk.Open(name, false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, limit)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	return b[:n], f.Close()
}

// readFull fills b from offset off; a file that ends before is io.ErrUnexpectedEOF.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeFull writes all of b at offset off; a short write is an error even where the file says nothing.
func writeFull(w io.WriterAt, b []byte, off int64) error {
	n, err := w.WriteAt(b, off)
	if err == nil && n != len(b) {
		return io.ErrShortWrite
	}
	return err
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
