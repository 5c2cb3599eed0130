package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"manti/domain"
	"manti/projections"
	"manti/proxy"
	"manti/proxy/auth"
	"manti/proxy/host"
	"manti/proxy/route"
)

// snapshots turns what the projections say of keys and prices into what the
// data plane works with, and keeps the last one on disk: from it, manti serves
// when it starts without a database.
type snapshots struct {
	path  string
	hosts []*host.Host

	index int64
	keys  *auth.Keys
	known map[domain.KeyID]projections.Key
	book  *domain.PriceBook
	saved time.Time
}

// savedSnapshot is the file's form. It holds no secret: hashes of keys are of
// no use without the pepper.
type savedSnapshot struct {
	V       int               `json:"v"`
	Index   int64             `json:"index"`
	Keys    []projections.Key `json:"keys"`
	Version domain.EventID    `json:"price_version"`
	Book    *domain.PriceBook `json:"book"`
}

// touchEvery is how often the file's time is renewed while the database says
// that nothing changed.
const touchEvery = 30 * time.Second

func newSnapshots(path string, hosts []*host.Host) *snapshots {
	return &snapshots{path: path, hosts: hosts, keys: &auth.Keys{}, known: map[domain.KeyID]projections.Key{}}
}

// load replaces everything.
func (s *snapshots) load(all projections.Snapshot) error {
	s.keys, s.known = &auth.Keys{}, make(map[domain.KeyID]projections.Key, len(all.Keys))
	s.index, s.book = all.Index, all.Book
	return s.add(all.Keys)
}

// apply adds what changed.
func (s *snapshots) apply(c projections.Changes) error {
	if err := s.add(c.Issued); err != nil {
		return err
	}
	var gone []auth.Change
	for _, id := range c.Revoked {
		if k, ok := s.known[id]; ok {
			k.Revoked = true
			s.known[id] = k
			gone = append(gone, auth.Change{Key: id})
		}
	}
	s.keys = s.keys.With(gone)
	if c.Book != nil {
		s.book = c.Book
	}
	s.index = c.Index
	return nil
}

func (s *snapshots) add(keys []projections.Key) error {
	changes := make([]auth.Change, 0, len(keys))
	for _, k := range keys {
		if _, there := s.known[k.ID]; there {
			continue
		}
		s.known[k.ID] = k
		if k.Revoked {
			continue
		}
		var h auth.Hash
		sum, err := hex.DecodeString(k.Hash)
		if err != nil || len(sum) != len(h) {
			return fmt.Errorf("key %s has no hash of %d bytes", k.ID, len(h))
		}
		copy(h[:], sum)
		changes = append(changes, auth.Change{Key: k.ID, Hash: h, Principal: &auth.Principal{
			Org: k.Org, Project: k.Project, Key: k.ID, User: k.User, Service: k.Service, Expires: k.Expires,
		}})
	}
	s.keys = s.keys.With(changes)
	return nil
}

// snapshot is what the data plane gets, known to hold at a time; nil while
// there is no price book.
func (s *snapshots) snapshot(at time.Time) *proxy.Snapshot {
	if s.book == nil {
		return nil
	}
	return &proxy.Snapshot{Keys: s.keys, Routes: route.New(s.routeVersion(), s.book, s.hosts), At: at}
}

// save writes the file, or renews its time if nothing changed.
func (s *snapshots) save(changed bool, now time.Time) error {
	if !changed {
		if now.Sub(s.saved) < touchEvery {
			return nil
		}
		s.saved = now
		return os.Chtimes(s.path, now, now)
	}
	file := savedSnapshot{V: 1, Index: s.index, Book: s.book}
	if s.book != nil {
		file.Version = s.book.Version
	}
	for _, k := range s.known {
		file.Keys = append(file.Keys, k)
	}
	text, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	s.saved = now
	return writeFile(s.path, text)
}

// restore reads the file. It returns when it was known to hold, zero if there
// is none.
func (s *snapshots) restore() (time.Time, error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read the saved snapshot: %w", err)
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the saved snapshot: %w", err)
	}
	var file savedSnapshot
	if err := json.Unmarshal(text, &file); err != nil {
		return time.Time{}, fmt.Errorf("the saved snapshot %s is damaged; it is made anew once the database answers: %w", s.path, err)
	}
	if file.V != 1 {
		return time.Time{}, fmt.Errorf("the saved snapshot %s is of version %d, which this program doesn't know; it is made anew once the database answers", s.path, file.V)
	}
	if file.Book != nil {
		file.Book.Version = file.Version
	}
	all := projections.Snapshot{Index: file.Index, Keys: file.Keys, Book: file.Book}
	if err := s.load(all); err != nil {
		return time.Time{}, fmt.Errorf("the saved snapshot %s: %w", s.path, err)
	}
	return info.ModTime(), nil
}

// routeVersion names what decides where calls go: the book's models, and the
// hosts with their credentials.
func (s *snapshots) routeVersion() string {
	h := sha256.New()
	fmt.Fprintln(h, s.book.Version)
	for _, host := range s.hosts {
		fmt.Fprintln(h, host.Provider, host.Dialect, host.Name(), host.Credential)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
