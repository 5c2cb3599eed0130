package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"manti/ledger/spool"
)

// spoolCollector shows the spool's numbers. How old the oldest unshipped
// record is, is the bound of what the loss of this disk could lose.
type spoolCollector struct {
	spool *spool.Spool
	descs map[string]*prometheus.Desc
}

func newSpoolCollector(s *spool.Spool) *spoolCollector {
	c := &spoolCollector{spool: s, descs: map[string]*prometheus.Desc{}}
	for name, help := range map[string]string{
		"bytes":                        "Length of all segment files.",
		"room_bytes":                   "Preallocated bytes for calls and their completions.",
		"reserved_bytes":               "Bytes of the room that are promised to open calls.",
		"open_calls":                   "Calls that were started and not completed.",
		"unshipped_records":            "Records that the ledger doesn't have yet.",
		"oldest_unshipped_age_seconds": "Age of the oldest record that the ledger doesn't have yet: what the loss of this disk could lose.",
		"syncs_total":                  "Syncs of the disk.",
		"sync_seconds_total":           "Time that the syncs took together.",
		"torn_bytes":                   "Bytes of an unfinished write that were cut off at start.",
	} {
		c.descs[name] = prometheus.NewDesc("manti_spool_"+name, help, nil, nil)
	}
	return c
}

// Describe sends the descriptions.
func (c *spoolCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect reads the numbers.
func (c *spoolCollector) Collect(out chan<- prometheus.Metric) {
	s, err := c.spool.Stats()
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.descs["bytes"], err)
		return
	}
	age := 0.0
	if !s.OldestAt.IsZero() {
		age = time.Since(s.OldestAt).Seconds()
	}
	for name, v := range map[string]float64{
		"bytes": float64(s.Bytes), "room_bytes": float64(s.Room), "reserved_bytes": float64(s.Reserved), "open_calls": float64(s.OpenCalls),
		"unshipped_records": float64(s.Unshipped), "oldest_unshipped_age_seconds": age, "torn_bytes": float64(s.TornBytes),
	} {
		out <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, v)
	}
	out <- prometheus.MustNewConstMetric(c.descs["syncs_total"], prometheus.CounterValue, float64(s.Syncs))
	out <- prometheus.MustNewConstMetric(c.descs["sync_seconds_total"], prometheus.CounterValue, s.SyncTime.Seconds())
}
