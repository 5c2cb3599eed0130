package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// section is one titled table.
type section struct {
	Title string `json:"title"`
	Rows  []row  `json:"rows"`
}

// show prints a section as text, or as one line of JSON.
func (s section) show(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	fmt.Fprintf(w, "\n%s\n", s.Title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(s.Rows) > 0 && hasBaseline(s.Rows) {
		fmt.Fprintf(t, "\t\tgateway\tbaseline\tratio\t\n")
	}
	for _, r := range s.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t", r.Name, r.Unit, number(r.Gateway))
		if r.Baseline != nil {
			fmt.Fprintf(t, "%s\t", number(*r.Baseline))
		}
		if r.Ratio != nil {
			fmt.Fprintf(t, "× %.2f\t", *r.Ratio)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func hasBaseline(rows []row) bool {
	for _, r := range rows {
		if r.Baseline != nil {
			return true
		}
	}
	return false
}
