// Package projections turns the ledger into what is asked of it: balances,
// usage by the hour, calls, keys, organisations, prices. A projection folds
// events into tables of its own; beside the fold stand the queries that read
// its rows and the decisions that rest on them (Decide…, run by a command of
// package ledger).
//
// It promises that
//   - rows and checkpoint move in one transaction, so every event is folded
//     exactly once, by however many processes at the same time;
//   - rows and digest at an index are the same however the way there was cut
//     into batches, so a rebuild can be compared with what it replaces;
//   - a correction takes out exactly what the event that it supersedes had put
//     in, in the hour of the call's admission, also if both are in one batch;
//   - money and tokens are exact: sums of numeric in Postgres, decimals in Go.
//
// After a crash nothing has to be repaired: a fold that didn't commit didn't
// happen, and the next one goes on from the checkpoint. A rebuild that was
// interrupted leaves shadow tables, which the next one replaces; the live
// tables are untouched until the one transaction that swaps them.
package projections
