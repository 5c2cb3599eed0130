package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/proxy/sim"
)

// tally is how many calls and tokens one side has counted.
type tally struct {
	calls  int64
	tokens domain.Usage
}

func (t tally) plus(sign int64, o tally) tally {
	t.calls += sign * o.calls
	for m := range t.tokens {
		t.tokens[m] += sign * o.tokens[m]
	}
	return t
}

// errDifferent says that the simulator and the ledger have not counted the
// same.
var errDifferent = errors.New("the ledger differs from what the provider counted")

// report fetches the simulator's books.
func report(ctx context.Context, simURL string) (sim.Report, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, simURL+"/sim/report", nil)
	if err != nil {
		return sim.Report{}, fmt.Errorf("ask the simulator: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return sim.Report{}, fmt.Errorf("ask the simulator: %w", err)
	}
	defer resp.Body.Close()
	var r sim.Report
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return sim.Report{}, fmt.Errorf("read the simulator's report: %w", err)
	}
	return r, nil
}

// counted is what the simulator has counted when none of its calls is open any
// more: calls that it began, and tokens that it reported.
func counted(ctx context.Context, simURL string) (tally, error) {
	for {
		r, err := report(ctx, simURL)
		if err != nil {
			return tally{}, err
		}
		if r.Begun == r.Completed+r.Failed+r.Cut {
			return tally{r.Begun, domain.Usage(r.Reported)}, nil
		}
		if !sleepUntil(ctx, time.Now().Add(drainPoll)) {
			return tally{}, fmt.Errorf("the simulator still has open calls: %+v", r)
		}
	}
}

// books reads the ledger.
type books struct {
	conn *pgx.Conn
	from int64 // index from which events are ours
}

// Drains are waited for so long, and looked at so often.
const (
	drainTimeout = 60 * time.Second
	drainPoll    = 200 * time.Millisecond
)

// openBooks connects and notes where the ledger ends now.
func openBooks(ctx context.Context, url string) (*books, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	b := &books{conn: conn}
	if err := conn.QueryRow(ctx, `SELECT size FROM ledger.head WHERE shard = 0`).Scan(&b.from); err != nil {
		return nil, errors.Join(fmt.Errorf("read the ledger's head: %w", err), conn.Close(ctx))
	}
	return b, nil
}

// ledgerSums sums up calls since an index: the attempts, each of which the
// provider saw as a call, and the tokens that the provider reported.
const ledgerSums = `
SELECT coalesce(sum(attempts), 0)::bigint,
       coalesce(sum(input), 0)::bigint, coalesce(sum(input_audio), 0)::bigint, coalesce(sum(input_image), 0)::bigint,
       coalesce(sum(cache_read), 0)::bigint, coalesce(sum(cache_write_5m), 0)::bigint, coalesce(sum(cache_write_1h), 0)::bigint,
       coalesce(sum(output), 0)::bigint, coalesce(sum(reasoning), 0)::bigint,
       coalesce(sum(output_audio), 0)::bigint, coalesce(sum(output_image), 0)::bigint,
       coalesce(sum(web_search), 0)::bigint, coalesce(sum(file_search), 0)::bigint
FROM ledger.events
WHERE index >= $1 AND kind = 'RequestCompleted'`

func (b *books) tally(ctx context.Context) (tally, error) {
	var t tally
	into := []any{&t.calls}
	for _, m := range []domain.Meter{
		domain.InputTokens, domain.InputAudioTokens, domain.InputImageTokens, domain.CacheReadTokens, domain.CacheWrite5mTokens,
		domain.CacheWrite1hTokens, domain.OutputTokens, domain.ReasoningTokens, domain.OutputAudioTokens, domain.OutputImageTokens,
		domain.WebSearches, domain.FileSearches,
	} {
		into = append(into, &t.tokens[m])
	}
	if err := b.conn.QueryRow(ctx, ledgerSums, b.from).Scan(into...); err != nil {
		return tally{}, fmt.Errorf("sum up the ledger: %w", err)
	}
	return t, nil
}

// drained waits until the ledger has as many calls as are expected, or doesn't
// get any more of them for drainTimeout, and returns what it has.
func (b *books) drained(ctx context.Context, want int64) (tally, error) {
	deadline, before := time.Now().Add(drainTimeout), int64(-1)
	for {
		t, err := b.tally(ctx)
		if err != nil || t.calls >= want || time.Now().After(deadline) {
			return t, err
		}
		if t.calls != before {
			before, deadline = t.calls, time.Now().Add(drainTimeout)
		}
		if !sleepUntil(ctx, time.Now().Add(drainPoll)) {
			return t, ctx.Err()
		}
	}
}

// compare prints both tallies and returns errDifferent if they are not the
// same.
func compare(w io.Writer, provider, ledger tally) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\tprovider\tledger\t\t\n")
	same := line(table, "calls", provider.calls, ledger.calls)
	for m := range provider.tokens {
		if provider.tokens[m] == 0 && ledger.tokens[m] == 0 {
			continue
		}
		same = line(table, domain.Meter(m).String(), provider.tokens[m], ledger.tokens[m]) && same
	}
	verdict := error(nil)
	if !same {
		verdict = errDifferent
	}
	return errors.Join(table.Flush(), verdict)
}

func line(w io.Writer, name string, provider, ledger int64) bool {
	word := "OK"
	if provider != ledger {
		word = "DIFFERENT"
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%s\t\n", name, provider, ledger, word)
	return provider == ledger
}
