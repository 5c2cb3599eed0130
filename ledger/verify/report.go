package verify

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// NoIndex is the index of what is about no single event.
const NoIndex = -1

// A Finding is something that is not what it must be.
type Finding struct {
	// Index is the event's, or the first of a range; NoIndex if it is about none.
	Index int64 `json:"index"`
	// Through is the last index of a range, Index where it is about one event.
	Through int64 `json:"through"`
	// Somewhere is set where it is about one event of the range or more, and it
	// can't be known which.
	Somewhere bool `json:"somewhere,omitempty"`
	// Table and Column say where, without the schema; Column may be empty.
	Table  string `json:"table"`
	Column string `json:"column,omitempty"`
	// Problem says what is wrong, in words.
	Problem string `json:"problem"`
	// Expected and Found are the values, or what may be shown of them.
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
}

// String is the finding as a line.
func (f Finding) String() string {
	where := "ledger." + f.Table
	if f.Column != "" {
		where += "." + f.Column
	}
	text := where + ": " + f.Problem
	switch {
	case f.Index == NoIndex:
	case f.Somewhere:
		text = fmt.Sprintf("in events %d to %d: %s", f.Index, f.Through, text)
	case f.Through > f.Index:
		text = fmt.Sprintf("events %d to %d: %s", f.Index, f.Through, text)
	default:
		text = fmt.Sprintf("event %d: %s", f.Index, text)
	}
	switch {
	case f.Expected != "" && f.Found != "":
		text += ": expected " + f.Expected + ", found " + f.Found
	case f.Expected != "":
		text += ": expected " + f.Expected
	case f.Found != "":
		text += ": " + f.Found
	}
	return text
}

// A Count is how often one kind of thing is wrong.
type Count struct {
	Table   string `json:"table"`
	Column  string `json:"column,omitempty"`
	Problem string `json:"problem"`
	Times   int64  `json:"times"`
}

// keepFindings is how many findings of a kind are kept, those with the lowest
// indexes; all are counted.
const keepFindings = 5

// findings collects what is wrong. It is for concurrent use.
type findings struct {
	mu   sync.Mutex
	kept map[Count][]Finding // guarded by mu; by kind, with Times 0
	all  map[Count]int64     // guarded by mu
}

func newFindings() *findings {
	return &findings{kept: map[Count][]Finding{}, all: map[Count]int64{}}
}

// add takes one finding.
func (f *findings) add(found Finding) { f.addMany(found, 1) }

// addMany takes a finding that stands for several of its kind.
func (f *findings) addMany(found Finding, times int64) {
	if found.Through < found.Index {
		found.Through = found.Index
	}
	kind := Count{Table: found.Table, Column: found.Column, Problem: found.Problem}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[kind] += times
	kept := f.kept[kind]
	if len(kept) == keepFindings && compareFindings(found, kept[len(kept)-1]) >= 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(kept, found, compareFindings)
	f.kept[kind] = slices.Insert(kept, at, found)[:min(len(kept)+1, keepFindings)]
}

// compareFindings orders by index: first those of which it is known where they
// are, last those about no event.
func compareFindings(a, b Finding) int {
	return cmp.Or(cmp.Compare(a.vagueness(), b.vagueness()), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Through, b.Through),
		cmp.Compare(a.Table, b.Table), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Found, b.Found))
}

func (f *Finding) vagueness() int {
	switch {
	case f.Index == NoIndex:
		return 2
	case f.Somewhere:
		return 1
	}
	return 0
}

// list returns the kept findings and the counts, in order.
func (f *findings) list() (list []Finding, counts []Count) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, times := range f.all {
		list = append(list, f.kept[kind]...)
		kind.Times = times
		counts = append(counts, kind)
	}
	slices.SortFunc(list, compareFindings)
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Problem, b.Problem))
	})
	return list, counts
}

// A Report is what a run of Run found.
type Report struct {
	// Size is the number of events in the ledger, Since the first index of which
	// everything was checked, Checked how many events that were.
	Size    int64 `json:"size"`
	Since   int64 `json:"since"`
	Checked int64 `json:"checked"`
	// Sealed is the size of the last checkpoint that holds: signed by a known
	// key, over the tree of these events. The events behind it are not sealed yet;
	// they were recorded in the last Unsealed, which is 0 if there are none.
	Sealed   int64         `json:"sealed"`
	Unsealed time.Duration `json:"unsealed_ns"`
	// Checkpoints is how many of the database's hold.
	Checkpoints int `json:"checkpoints"`
	// Outside is the size of the checkpoint from outside the database, of which
	// OutsideSource says whence; -1 if there was none.
	Outside       int64  `json:"outside"`
	OutsideSource string `json:"outside_source,omitempty"`
	// Unaccepted are origins that the ledger has begun and no outside memory has
	// accepted; Unsigned is the one that was accepted and under which nothing is
	// signed yet, if that is so.
	Unaccepted []string `json:"unaccepted_origins,omitempty"`
	Unsigned   string   `json:"unsigned_origin,omitempty"`
	// Keys is how many keys signatures were checked with.
	Keys int `json:"keys"`
	// Erased is how many events have lost their erasable part by an event that
	// says so.
	Erased int64 `json:"erased"`
	// SpoolRecords is how many records of spools were found in the ledger.
	SpoolRecords int64 `json:"spool_records"`
	// Separation says how far roles guard the ledger: none, shared or full; and
	// SeparationReason why it isn't full.
	Separation       string `json:"separation,omitempty"`
	SeparationReason string `json:"separation_reason,omitempty"`
	// Notes are what should be known and is not wrong.
	Notes []string `json:"notes,omitempty"`
	// Wrong is how much is wrong, Counts by kind; Findings are some of each kind,
	// that with the lowest index first.
	Wrong    int64     `json:"wrong"`
	Counts   []Count   `json:"counts,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	// Took is how long it took.
	Took time.Duration `json:"took_ns"`
}

// Proven reports whether a restored backup and a forged checkpoint can be
// excluded: a checkpoint from outside the database, signed by a known key, holds,
// and all origins that the ledger has begun were accepted there.
func (r *Report) Proven() bool {
	return r.Wrong == 0 && r.Keys > 0 && r.Outside >= 0 && len(r.Unaccepted) == 0
}

// count is how much is wrong with a table.
func (f *findings) count(table string) (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, times := range f.all {
		if kind.Table == table {
			n += times
		}
	}
	return n
}
