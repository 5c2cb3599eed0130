package main

import "testing"

// A spool with a place of its own stays there, whatever the data directory.
func TestDataFlagLeavesTheSpool(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, data, spool, want string }{
		{"beside the data", "/d", "", "/new/spool"},
		{"in its own place", "/d", "/s", "/s"},
	} {
		c := Config{Data: test.data, Spool: test.spool}.withDefaults(nil)
		c.moveTo("/new")
		if c.Data != "/new" || c.Spool != test.want {
			t.Errorf("%s: data %s, spool %s, want %s", test.name, c.Data, c.Spool, test.want)
		}
	}
}
