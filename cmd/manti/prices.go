package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/projections"
)

// readPriceFile reads a price file over the built-in list. "-" is standard
// input, "builtin" the built-in list itself.
func readPriceFile(name string) (*domain.PriceBook, []projections.Rounded, error) {
	builtin, err := projections.BuiltinPrices()
	if err != nil || name == "builtin" {
		return builtin, nil, err
	}
	var text []byte
	if name == "-" {
		text, err = io.ReadAll(os.Stdin)
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read price file: %w", err)
	}
	file, err := projections.ParsePriceFile(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	book, rounded, err := file.Book(builtin)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return book, rounded, nil
}

// priceFlags reads what both commands are given.
func priceFlags(inv invocation) (file, data string, err error) {
	flags := newFlags(inv)
	dir := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return "", "", err
	}
	if flags.NArg() != 1 {
		return "", "", usageError{"manti " + inv.name + ": name one price file, - for standard input, or builtin for the built-in list"}
	}
	return flags.Arg(0), *dir, nil
}

// pricesDiff shows what publishing a file would change.
func pricesDiff(ctx context.Context, inv invocation) error {
	file, data, err := priceFlags(inv)
	if err != nil {
		return err
	}
	book, rounded, err := readPriceFile(file)
	if err != nil {
		return err
	}
	return withDatabase(ctx, inv, data, func(d database) error {
		if err := d.catchUp(ctx, projections.Prices()); err != nil {
			return err
		}
		current, err := projections.CurrentBook(ctx, d.pool)
		if err != nil {
			return err
		}
		return printPriceDiff(inv.io.out, projections.DiffPrices(current, book), rounded)
	})
}

// pricesPublish publishes a file as a new version.
func pricesPublish(ctx context.Context, inv invocation) error {
	file, data, err := priceFlags(inv)
	if err != nil {
		return err
	}
	book, rounded, err := readPriceFile(file)
	if err != nil {
		return err
	}
	return withDatabase(ctx, inv, data, func(d database) error {
		at := eventTime()
		publish := projections.PublishPrices{Event: newID[domain.EventID](at), At: at, Author: operator(), Book: book}
		var before *domain.PriceBook
		err := d.command(ctx, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
			var err error
			if before, err = projections.CurrentBook(ctx, tx); err != nil {
				return nil, err
			}
			return projections.DecidePublish(ctx, tx, publish)
		}, projections.Prices())
		if errors.Is(err, projections.ErrSamePrices) {
			fmt.Fprintln(inv.io.out, "Nothing published:", err)
			return nil
		}
		if err != nil {
			return err
		}
		if err := printPriceDiff(inv.io.out, projections.DiffPrices(before, book), rounded); err != nil {
			return err
		}
		_, err = fmt.Fprintf(inv.io.out, "Published as %s.\n", publish.Event)
		return err
	})
}

func printPriceDiff(w io.Writer, changes []projections.PriceChange, rounded []projections.Rounded) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "No difference.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MODEL\tLIST\tFROM\tSERVED\tOVER\tMETER\tOLD\tNEW\tPER MILLION")
	for _, c := range changes {
		model := c.Provider + "/" + c.Model
		if c.Meter == "" {
			fmt.Fprintf(t, "%s\t%s\n", model, c.What)
			continue
		}
		from := ""
		if !c.From.IsZero() {
			from = c.From.Format(time.DateOnly)
		}
		over := ""
		if c.Over > 0 {
			over = fmt.Sprint(c.Over)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", model, c.List, from, c.Served, over, c.Meter, rateText(c.Old), rateText(c.New), c.Currency)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range rounded {
		fmt.Fprintf(w, "Rounded, half to even: %s/%s %s from %s to %s\n", r.Provider, r.Model, r.Meter, r.Exact, r.Rate)
	}
	return nil
}

func rateText(r decimal.NullDecimal) string {
	if !r.Valid {
		return "–"
	}
	return r.Decimal.String()
}
