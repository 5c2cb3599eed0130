package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sync"
	"time"
)

const (
	cursorName  = "cursor"
	cursorMagic = "manticur"
	cursorSlot  = 4096 // bytes; two slots, written in turn, so that a torn write leaves the other
	cursorSize  = 64   // bytes of a slot that are used
)

// cursorSyncEvery is how old an unsynced cursor may get: a crash makes the shipper repeat what it shipped since.
const cursorSyncEvery = time.Second

// A cursor says how far the ledger has the spool's records, and that the log was synced up to a place.
type cursor struct {
	seq    uint64   // the slot with the higher one holds
	acked  Position // everything before it is in the ledger
	synced Position // everything before it was durable when the slot was written
}

func (c cursor) encode(id [16]byte) []byte {
	b := make([]byte, cursorSize)
	copy(b, cursorMagic)
	copy(b[8:24], id[:])
	binary.LittleEndian.PutUint64(b[24:], c.seq)
	binary.LittleEndian.PutUint64(b[32:], uint64(c.acked))
	binary.LittleEndian.PutUint64(b[40:], uint64(c.synced))
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func decodeCursor(b []byte, id [16]byte) (cursor, bool) {
	if len(b) < cursorSize || string(b[:8]) != cursorMagic || [16]byte(b[8:24]) != id ||
		crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return cursor{}, false
	}
	return cursor{
		seq:    binary.LittleEndian.Uint64(b[24:]),
		acked:  Position(binary.LittleEndian.Uint64(b[32:])),
		synced: Position(binary.LittleEndian.Uint64(b[40:])),
	}, true
}

// readCursor returns the newer valid slot of dir's cursor; false if there is none, which costs nothing but
// shipping again what is kept.
func readCursor(disk FS, dir string, id [16]byte) (cursor, bool, error) {
	b, err := readFile(disk, filepath.Join(dir, cursorName), 2*cursorSlot)
	if err != nil && !missing(err) {
		return cursor{}, false, fmt.Errorf("read cursor: %w", err)
	}
	var best cursor
	found := false
	for off := 0; off < len(b); off += cursorSlot {
		c, ok := decodeCursor(b[off:], id)
		if ok && (!found || c.seq > best.seq) {
			best, found = c, true
		}
	}
	return best, found, nil
}

// cursorFile is the open cursor of a spool.
type cursorFile struct {
	id [16]byte

	mu       sync.Mutex
	f        File
	last     cursor    // guarded by mu: as last written
	syncedAt time.Time // guarded by mu
	dirty    bool      // guarded by mu: written, not synced
}

// openCursor makes sure that dir has a cursor file which says c, durably.
func openCursor(disk FS, dir string, id [16]byte, c cursor) (*cursorFile, error) {
	path := filepath.Join(dir, cursorName)
	b := make([]byte, 2*cursorSlot)
	copy(b[c.seq%2*cursorSlot:], c.encode(id))
	if err := replaceFile(disk, path, b); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	f, err := disk.Open(path, true)
	if err != nil {
		return nil, err
	}
	return &cursorFile{id: id, f: f, last: c, syncedAt: time.Now()}, nil
}

// save writes the next slot, and syncs it if asked to or if the last sync was a second ago.
func (c *cursorFile) save(acked, synced Position, sync bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if acked != c.last.acked || synced != c.last.synced {
		next := cursor{seq: c.last.seq + 1, acked: max(acked, c.last.acked), synced: max(synced, c.last.synced)}
		if err := writeFull(c.f, next.encode(c.id), int64(next.seq%2)*cursorSlot); err != nil {
			return fmt.Errorf("write cursor: %w", err)
		}
		c.last, c.dirty = next, true
	}
	if !c.dirty || !sync && time.Since(c.syncedAt) < cursorSyncEvery {
		return nil
	}
	if err := c.f.Sync(); err != nil {
		return fmt.Errorf("sync cursor: %w", err)
	}
	c.syncedAt, c.dirty = time.Now(), false
	return nil
}

// acked is what the last saved cursor says.
func (c *cursorFile) acked() Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.acked
}

// measure returns the median duration of n syncs of one small write each: what this disk takes.
func (c *cursorFile) measure(n int) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	took := make([]time.Duration, 0, n)
	for range n {
		next := c.last
		next.seq++
		begin := time.Now()
		err := writeFull(c.f, next.encode(c.id), int64(next.seq%2)*cursorSlot)
		if err == nil {
			err = c.f.Sync()
		}
		if err != nil {
			return 0, fmt.Errorf("measure sync: %w", err)
		}
		took = append(took, time.Since(begin))
		c.last = next
	}
	return median(took), nil
}

func (c *cursorFile) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.f.Close()
}
