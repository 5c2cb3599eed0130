// Package domain holds manti's nouns and its arithmetic: ids, money, usage,
// prices, and the events of the ledger with their one canonical encoding.
//
// It does no I/O, reads no clock and keeps no state but constants: the same
// input gives the same output on every machine and in every year. That is what
// lets a charge be recomputed, a projection be rebuilt and an event be
// verified long after it was written.
//
// Nothing here can fail half-way, so there is nothing to recover after a
// crash.
package domain
