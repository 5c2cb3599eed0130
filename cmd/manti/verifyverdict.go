package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	checks "manti/ledger/verify"
)

// A verifyVerdict is what verify found, as --json prints it.
type verifyVerdict struct {
	// Status is the exit status.
	Status int `json:"status"`
	checks.Report
	Projections []projectionVerdict `json:"projections,omitempty"`
}

type projectionVerdict struct {
	Name       string `json:"name"`
	Index      int64  `json:"index"`
	Parked     int64  `json:"parked"`
	Equal      bool   `json:"equal"`
	Difference string `json:"difference,omitempty"`
}

func verdictOf(r checks.Report) *verifyVerdict { return &verifyVerdict{Report: r} }

// status is the error that ends the command.
func (v *verifyVerdict) status() error {
	switch v.exit() {
	case statusWrong:
		return statusError{statusWrong, errors.New("the ledger is not what it must be: see docs/threat-model.md for what to do")}
	case statusNotProven:
		return statusError{statusNotProven, errors.New("nothing is wrong, but a restored backup can't be excluded: " + v.whyNotProven())}
	}
	return nil
}

func (v *verifyVerdict) exit() int {
	if v.Wrong > 0 {
		return statusWrong
	}
	for _, p := range v.Projections {
		if !p.Equal {
			return statusWrong
		}
	}
	if !v.Proven() {
		return statusNotProven
	}
	return 0
}

func (v *verifyVerdict) whyNotProven() string {
	if len(v.Unaccepted) > 0 {
		return fmt.Sprintf("the ledger says that it began %s after a loss, which is accepted nowhere outside the database. If you accepted it, `manti seal --accept ORIGIN` where MANTI_CHECKPOINTS is; else that event is forged", strings.Join(v.Unaccepted, ", "))
	}
	if v.Unsigned != "" {
		return "the loss is accepted, but nothing is signed under " + v.Unsigned + " yet: a sealer does so within seconds"
	}
	if v.Outside < 0 {
		return "there is no checkpoint from outside the database (--against, MANTI_CHECKPOINTS)"
	}
	return "no key is known to check signatures with (--key, MANTI_SEAL_KEY, MANTI_SEAL_OLD_KEYS)"
}

// print says it in words.
func (v *verifyVerdict) print(w io.Writer) error {
	var b strings.Builder
	v.scope(&b)
	v.seals(&b)
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", note)
	}
	fmt.Fprintf(&b, "Separation of roles: %s.", v.Separation)
	if v.SeparationReason != "" {
		fmt.Fprintf(&b, " %s.", v.SeparationReason)
	}
	b.WriteString("\n")
	for _, p := range v.Projections {
		if !p.Equal {
			fmt.Fprintf(&b, "WRONG  projection %s\n", p.Difference)
		} else {
			fmt.Fprintf(&b, "Projection %s, %s.\n", p.Difference, parkedText(p.Parked))
		}
	}
	v.wrong(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func parkedText(n int64) string {
	if n == 0 {
		return "nothing parked"
	}
	return fmt.Sprintf("%d events parked", n)
}

// scope says what was checked.
func (v *verifyVerdict) scope(b *strings.Builder) {
	fmt.Fprintf(b, "The ledger has %d events. ", v.Size)
	switch {
	case v.Checked == v.Size:
		b.WriteString("Everything of all of them was checked")
	case v.Since == v.Size:
		fmt.Fprintf(b, "Everything of %d, chosen at random, was checked; of all others the leaf as it is stored", v.Checked)
	default:
		fmt.Fprintf(b, "Everything from event %d on was checked; of those before the leaf as it is stored", v.Since)
	}
	fmt.Fprintf(b, ", in %s.\n", v.Took.Round(time.Millisecond))
	if v.Erased > 0 {
		fmt.Fprintf(b, "Erasable parts that events say were erased: %d.\n", v.Erased)
	}
	if v.SpoolRecords > 0 {
		fmt.Fprintf(b, "Records of spools that are in the ledger: %d.\n", v.SpoolRecords)
	}
}

// seals says how far signatures reach.
func (v *verifyVerdict) seals(b *strings.Builder) {
	signed := "signed by a known key"
	if v.Keys == 0 {
		signed = "whose signatures were not checked, for want of a key"
	}
	fmt.Fprintf(b, "Checkpoints that hold: %d, %s; the last is of %d events.\n", v.Checkpoints, signed, v.Sealed)
	if n := v.Size - v.Sealed; n > 0 {
		fmt.Fprintf(b, "%d events of the last %s are not sealed yet: who can write to the database can still replace these.\n", n, v.Unsealed.Round(time.Second))
	}
	if v.Outside >= 0 {
		fmt.Fprintf(b, "From outside the database: a checkpoint of %d events (%s).\n", v.Outside, v.OutsideSource)
	}
}

// wrong lists what is.
func (v *verifyVerdict) wrong(b *strings.Builder) {
	if v.Wrong == 0 {
		if v.exit() != statusWrong {
			b.WriteString("Nothing is wrong.\n")
		}
		return
	}
	fmt.Fprintf(b, "WRONG  %s\n", v.Findings[0])
	for _, f := range v.Findings[1:] {
		fmt.Fprintf(b, "       %s\n", f)
	}
	if int64(len(v.Findings)) < v.Wrong {
		fmt.Fprintf(b, "       … %d in all:\n", v.Wrong)
		for _, c := range v.Counts {
			where := c.Table
			if c.Column != "" {
				where += "." + c.Column
			}
			fmt.Fprintf(b, "       %8d  %s: %s\n", c.Times, where, c.Problem)
		}
	}
}
