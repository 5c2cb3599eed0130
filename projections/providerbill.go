package projections

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger"
)

// A ProviderBill is what a provider says of calls, one by one.
type ProviderBill struct {
	byRequest  map[domain.EventID]*billLine
	byProvider map[string]*billLine
	lines      []*billLine
}

type billLine struct {
	name    string // by which the bill calls it
	figures Figures
	found   bool
}

// ErrBill is returned for a bill that can't be read, with the line.
var ErrBill = errors.New("provider's bill refused")

// Columns of a bill besides the meters.
const (
	billRequest  = "request_id"          // manti's id of the call
	billProvider = "provider_request_id" // the provider's
	billCost     = "cost"                // in the currency that the call's cost has
)

// ReadBill reads a CSV whose first line names its columns: request_id or
// provider_request_id or both, of which a line needs one; any of the meters by
// their names in the ledger; cost, a plain decimal in the currency of the
// call's cost. A bill with meters names all that it billed: a meter that it has
// no column for, or an empty field, is zero. Other columns are refused: a meter
// that is misspelt would be billed as zero.
func ReadBill(r io.Reader) (*ProviderBill, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it is empty; its first line names the columns", ErrBill)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBill, err)
	}
	columns := slices.Clone(header)
	if err := checkBillColumns(columns); err != nil {
		return nil, err
	}
	b := &ProviderBill{byRequest: map[domain.EventID]*billLine{}, byProvider: map[string]*billLine{}}
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err == nil {
			err = b.add(columns, fields)
		}
		if err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("%w: line %d: %w", ErrBill, line, err)
		}
	}
}

func checkBillColumns(columns []string) error {
	named := false
	for i, c := range columns {
		c = strings.TrimSpace(strings.TrimPrefix(c, "\ufeff"))
		if columns[i] = c; slices.Index(columns, c) != i {
			return fmt.Errorf("%w: column %s is there twice", ErrBill, c)
		}
		_, meter := domain.ParseMeter(c)
		switch {
		case c == billRequest || c == billProvider:
			named = true
		case c == billCost || meter:
		default:
			return fmt.Errorf("%w: column %q is none of %s, %s, %s or the meters (input, output, cache_read …)", ErrBill, c, billRequest, billProvider, billCost)
		}
	}
	if !named {
		return fmt.Errorf("%w: it needs a column %s or %s", ErrBill, billRequest, billProvider)
	}
	return nil
}

func (b *ProviderBill) add(columns, fields []string) error {
	line := &billLine{figures: Figures{Meters: map[domain.Meter]int64{}, Provenance: domain.Reported}}
	var request domain.EventID
	provider := ""
	for i, column := range columns {
		field := strings.TrimSpace(fields[i])
		meter, isMeter := domain.ParseMeter(column)
		line.figures.Whole = line.figures.Whole || isMeter
		if field == "" {
			continue
		}
		var err error
		switch {
		case column == billRequest:
			request, err = domain.ParseID[domain.EventID](field)
			line.name = field
		case column == billProvider:
			provider = strings.Clone(field)
			line.name = provider
		case column == billCost:
			var cost decimal.Decimal
			cost, err = ParseAmount(field)
			line.figures.Cost = &cost
		default:
			line.figures.Meters[meter], err = strconv.ParseInt(field, 10, 64)
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w", column, field, err)
		}
	}
	return b.enter(line, request, provider)
}

// maxWholeDigits is how many digits an amount that was typed may have before the
// point. What is longer is a slip, and would stand in the ledger for ever.
const maxWholeDigits = 18

// ParseAmount reads an amount of money that a person or a provider wrote: plain
// digits, no sign, no exponent, at most maxWholeDigits before the point.
func ParseAmount(s string) (decimal.Decimal, error) {
	whole, _, _ := strings.Cut(s, ".")
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return decimal.Zero, errors.New("not a plain decimal like 0.25, without sign and exponent")
	}
	if len(strings.TrimLeft(whole, "0")) > maxWholeDigits {
		return decimal.Zero, fmt.Errorf("more than %d digits before the point", maxWholeDigits)
	}
	return decimal.NewFromString(s)
}

func (b *ProviderBill) enter(line *billLine, request domain.EventID, provider string) error {
	switch {
	case request.IsZero() && provider == "":
		return errors.New("it names no call")
	case !request.IsZero() && b.byRequest[request] != nil, provider != "" && b.byProvider[provider] != nil:
		return fmt.Errorf("call %s is there twice", line.name)
	}
	if !request.IsZero() {
		b.byRequest[request] = line
	}
	if provider != "" {
		b.byProvider[provider] = line
	}
	b.lines = append(b.lines, line)
	return nil
}

// line is what the bill says of a call; nil if nothing.
func (b *ProviderBill) line(request domain.EventID, provider string) *billLine {
	if l := b.byRequest[request]; l != nil {
		return l
	}
	if provider == "" {
		return nil
	}
	return b.byProvider[provider]
}

// Reconcile gives calls the usage and the cost that the bill says, and the
// charge that follows from the usage by the call's own price version. Calls that
// the bill doesn't name are left.
func (b *Books) Reconcile(ctx context.Context, bill *ProviderBill) (Change, error) {
	if err := b.All(ctx); err != nil {
		return nil, err
	}
	return func(e ledger.Entry, call *domain.RequestCompleted) error {
		line := bill.line(call.RequestID(e.Event.ID), lastProviderRequest(call))
		if line == nil {
			return errLeave
		}
		return b.restate(line.figures, e, call)
	}, nil
}

func lastProviderRequest(call *domain.RequestCompleted) string {
	if n := len(call.Private.Attempts); n > 0 {
		return call.Private.Attempts[n-1].RequestID
	}
	return ""
}

// Indexes are those of the standing calls that the bill names. Afterwards,
// Missing knows what it names and the ledger doesn't have.
func (b *ProviderBill) Indexes(ctx context.Context, q ledger.Querier) func(yield func([]int64, error) bool) {
	const query = `SELECT e.index, e.request_id, COALESCE(e.provider_request_id, '') FROM ledger.events e
		WHERE e.index >= $1 AND e.index < $2 AND e.kind IN ('RequestCompleted', 'UsageCorrected')
		AND NOT EXISTS (SELECT FROM ledger.supersedes s WHERE s.id = e.id) ORDER BY e.index`
	return windows(ctx, q, func(from, to int64) ([]int64, error) {
		rows, err := q.Query(ctx, query, from, to)
		if err != nil {
			return nil, err
		}
		var found []int64
		var index int64
		var request domain.EventID
		var provider string
		_, err = pgx.ForEachRow(rows, []any{&index, (*[16]byte)(&request), &provider}, func() error {
			if line := b.line(request, provider); line != nil {
				line.found = true
				found = append(found, index)
			}
			return nil
		})
		return found, err
	})
}

// Lines is how many calls the bill names.
func (b *ProviderBill) Lines() int { return len(b.lines) }

// Missing are the names of calls that Indexes didn't find in the ledger.
func (b *ProviderBill) Missing() []string {
	var missing []string
	for _, l := range b.lines {
		if !l.found {
			missing = append(missing, l.name)
		}
	}
	return missing
}
