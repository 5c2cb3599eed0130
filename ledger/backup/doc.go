// Package backup writes the ledger into one file and reads it back into an
// empty database, of the same major version of Postgres or another.
//
// It promises that
//   - a backup is the ledger as of one moment, taken beside those who append;
//   - what is restored are the stored bytes, at their indexes and times: every
//     leaf, checkpoint and receipt holds as before;
//   - a file that is cut short or changed is refused, and then nothing is
//     restored: a restore is one transaction.
//
// A backup has the schemas ledger and escrow and the settings that replicas
// agree on. It has no secret and no signing key, and no projection: those are
// folded anew. It holds what is erasable: an erasure is to be repeated after a
// restore of a backup from before it.
//
// # The file
//
// A gzip'd tar archive: manifest.json (Manifest); then for each table, in the
// manifest's order, its rows in pieces TABLE/000000.copy …, cut between rows,
// in the text format of COPY; then end.json (rows, bytes and SHA-256 of each
// table), which makes it whole. After a crash while it is written there is no
// end.json.
package backup
