// Package jobs does in the background what nobody waits for: it folds
// projections, makes partitions ahead and clears up. River starts the work;
// the work itself is in other packages.
//
// River's tables hold no truth. What is left to do is read from the ledger's
// head and the projections' checkpoints, every second, by every replica. So
// every row of River's may be deleted at any time, a job may be lost, run twice
// or be cut off by a crash: the next second starts it again, and it goes on
// from its checkpoint. In particular nothing relies on River's unique jobs,
// which keep a job from being started while another is said to be running:
// after a kill -9 one is said to be for minutes.
package jobs
