package ledger

import (
	"sync"

	"manti/domain"
	"manti/ledger/internal/row"
)

// prepared is all of an append that needs no database.
type prepared struct {
	mem   *workspace
	given int // how many events
	// rounds have each id once: whether the second of an id is the same event is
	// known when the first is in the ledger.
	rounds     [][]row.Row
	rejections []rejection
}

// A workspace is the memory of what is prepared. It is used again when that is
// written.
type workspace struct {
	arenas [2]row.Arena
	rows   []row.Row
	errs   []error
	seen   map[domain.EventID]int
}

// prepare makes the events ready. release takes the memory back.
func (l *Ledger) prepare(events []domain.Encoded) *prepared {
	mem, ok := l.workspaces.Get().(*workspace)
	if !ok {
		mem = &workspace{seen: make(map[domain.EventID]int)}
	}
	p := &prepared{mem: mem, given: len(events)}
	p.rounds, p.rejections = mem.sort(mem.build(events))
	return p
}

func (l *Ledger) release(p *prepared) { l.workspaces.Put(p.mem) }

// worthHalving is the number of events from which a second goroutine pays.
const worthHalving = 64

// build makes each event's row, or an error that is about it alone. The two
// halves of a large batch are made at once: while a batch is made ready the database has nothing
// to do for whoever waits for it.
func (w *workspace) build(events []domain.Encoded) ([]row.Row, []error) {
	n := len(events)
	if cap(w.rows) < n {
		w.rows, w.errs = make([]row.Row, n), make([]error, n)
	}
	rows, errs := w.rows[:n], w.errs[:n]
	part := func(mem *row.Arena, from, to int) {
		mem.Reset()
		for i := from; i < to; i++ {
			rows[i], errs[i] = row.New(events[i], mem)
			rows[i].Nth = i
		}
	}
	half := n
	if n >= worthHalving {
		half = n / 2
	}
	var wg sync.WaitGroup
	if half < n {
		wg.Go(func() { part(&w.arenas[1], half, n) })
	}
	part(&w.arenas[0], 0, half)
	wg.Wait()
	return rows, errs
}

// sort takes out the rows with an error, and puts those whose ids come again
// into later rounds.
func (w *workspace) sort(rows []row.Row, errs []error) (rounds [][]row.Row, rejections []rejection) {
	clear(w.seen)
	rounds = [][]row.Row{rows[:0]}
	for i, r := range rows {
		if errs[i] != nil {
			rejections = append(rejections, rejectRow(r, "can't be read: "+errs[i].Error(), ""))
			continue
		}
		round := w.seen[r.Encoded.ID]
		w.seen[r.Encoded.ID]++
		if round == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[round] = append(rounds[round], r) // never beyond i
	}
	return rounds, rejections
}
