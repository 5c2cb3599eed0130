package projections

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	"go.yaml.in/yaml/v3"

	"manti/domain"
)

// PriceFile is a list of models and prices as people write it, in YAML or JSON.
// The built-in list has this form too. Figures are decimals, with or without
// quotes; rates are per million tokens or, for web_search and file_search, per
// million calls, as in a domain.PriceBook. Unknown keys are refused.
//
//	source: our contract of October   # for people
//	markup: "1.2"                     # charge = cost × markup for every model …
//	models:
//	  - {provider: openai, name: gpt-4o, markup: "1.5"}   # … without one of its own
//	  - provider: openai
//	    name: gpt-4o-mini
//	    prices:                       # replace all that the base says
//	      - rates: {input: 0.15, cache_read: 0.075, output: 0.60}
//	        charge: {rates: {input: 0.30, output: 1.20}}
//
// Book says how the file becomes a price book.
type PriceFile struct {
	Source string `yaml:"source"`
	// Base is what the file is laid over: "" or "builtin" for the built-in
	// list, "none" if the file is the whole list.
	Base string `yaml:"base"`
	// Currency is that of prices that name none; "" is USD.
	Currency domain.Currency `yaml:"currency"`
	// Markup makes the charge of every model that has neither a markup nor a
	// charge of its own.
	Markup *figure `yaml:"markup"`
	// Fees are rates by provider that are added to each of its chat models
	// here that doesn't state them.
	Fees   map[string]rateTable `yaml:"fees"`
	Models []fileModel          `yaml:"models"`
}

// fileModel is one model. Without prices it changes only the markup of the
// base's model. With prices, what else is left out is taken from the base's
// model of that name, if there is one.
type fileModel struct {
	Provider     string           `yaml:"provider"`
	Name         string           `yaml:"name"`
	Aliases      []string         `yaml:"aliases"`
	Kind         domain.ModelKind `yaml:"kind"`
	ContextLimit int64            `yaml:"context_limit"`
	OutputLimit  int64            `yaml:"output_limit"`
	Abilities    []string         `yaml:"abilities"`
	Created      string           `yaml:"created"`
	Deprecated   bool             `yaml:"deprecated"`
	// Source is where the figures come from and of when they are, for people.
	Source string      `yaml:"source"`
	Markup *figure     `yaml:"markup"`
	Prices []filePrice `yaml:"prices"`
}

// filePrice is what a model costs from a date on; the first has none.
type filePrice struct {
	From     day `yaml:"from"`
	fileList `yaml:",inline"`
	Charge   *fileList `yaml:"charge"`
}

// fileList is the rates of one currency.
type fileList struct {
	Currency domain.Currency `yaml:"currency"`
	Rates    rateTable       `yaml:"rates"`
	// Above are the rates of calls with a larger prompt.
	Above    []fileTier    `yaml:"above"`
	Variants []fileVariant `yaml:"variants"`
	// Regions multiply every token's rate, the variants' too.
	Regions map[string]figure `yaml:"regions"`
}

type fileTier struct {
	Over  int64     `yaml:"over"` // prompt tokens
	Rates rateTable `yaml:"rates"`
}

// fileVariant has rates of its own, or a factor for the standard tokens' rates.
type fileVariant struct {
	Tier   string     `yaml:"tier"`
	Speed  string     `yaml:"speed"`
	Region string     `yaml:"region"`
	Factor *figure    `yaml:"factor"`
	Rates  rateTable  `yaml:"rates"`
	Above  []fileTier `yaml:"above"`
}

// rateTable is rates by the names of meters.
type rateTable map[string]figure

// figure is a decimal that is read digit by digit, never through a float.
type figure struct{ decimal.Decimal }

// maxFigure is the length of the longest figure; it keeps arithmetic cheap.
const maxFigure = 32

var errFigure = errors.New("write a decimal like 0.15, not negative, without exponent")

// UnmarshalText reads digits with at most one point among them.
func (f *figure) UnmarshalText(text []byte) error {
	s := string(text)
	whole, fraction, point := strings.Cut(s, ".")
	if len(s) > maxFigure || !isDigits(whole) || point && !isDigits(fraction) {
		return fmt.Errorf("%q: %w", s[:min(len(s), maxFigure)], errFigure)
	}
	d, err := decimal.NewFromString(s)
	if err != nil {
		return fmt.Errorf("%q: %w", s, errFigure)
	}
	f.Decimal = d
	return nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// day is a date or a time in UTC; the zero day is none.
type day struct{ time.Time }

// UnmarshalYAML reads YYYY-MM-DD (its beginning, in UTC) or an RFC 3339 time.
func (d *day) UnmarshalYAML(node *yaml.Node) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, node.Value); err == nil {
			d.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("line %d: %q is no date: write 2026-10-07", node.Line, node.Value)
}

// maxPriceFile is the size of the largest price file that is read.
const maxPriceFile = 4 << 20

// ErrPriceFile is returned for a price file that can't be read; the text says
// where and why.
var ErrPriceFile = errors.New("price file refused")

// ParsePriceFile reads a price file. What it says is checked by Book.
func ParsePriceFile(data []byte) (*PriceFile, error) {
	if len(data) > maxPriceFile {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrPriceFile, maxPriceFile)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var f PriceFile
	if err := d.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return nil, fmt.Errorf("%w: %w", ErrPriceFile, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: there is more than one document in it", ErrPriceFile)
	}
	switch f.Base {
	case "", BaseBuiltin, BaseNone:
		return &f, nil
	default:
		return nil, fmt.Errorf("%w: base %q is neither %q nor %q", ErrPriceFile, f.Base, BaseBuiltin, BaseNone)
	}
}

// What a PriceFile can be laid over.
const (
	BaseBuiltin = "builtin"
	BaseNone    = "none"
)
