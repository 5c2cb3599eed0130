// Package verify recomputes everything that the ledger holds from the bytes of
// its events and names what differs: an auditor who trusts neither the database
// nor whoever runs it learns which entry is not what was signed.
//
// It promises that
//   - every leaf is recomputed from recorded_at and the canonical bytes, every
//     part's hash from salt and part, every column from the event, and the
//     tree over the leaves by arithmetic of its own, not from the tiles;
//   - the tree is held against each signed checkpoint, those in the database and
//     the one from outside it: who edits a sealed entry, or puts an old backup in
//     place, needs the signing key to pass;
//   - it reads one snapshot, so that a ledger in use gives no false alarm, and
//     writes nothing;
//   - it goes on after the first thing that is wrong, and counts;
//   - no private or erasable content is in what it reports, only that it differs.
//
// What it can't know is in docs/threat-model.md: entries behind the last signed
// checkpoint can be replaced as a whole, which only spools tell.
//
// A crash leaves nothing behind; it is run again.
package verify
