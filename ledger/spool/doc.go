// Package spool is the local write-ahead log of the gateway: what must outlive the process is here before anybody
// is told that it happened, and stays until the ledger has it.
//
// It knows nothing of what it carries. A record has a kind, the 16-byte id of its call and bytes of its owner. A
// call begins with a [Start], may have [Attempt]s, and has exactly one [End]. Beside calls it keeps what the ledger said:
// where it has each shipped record ([Placed]) and what it has from elsewhere ([Entry]), so that a ledger that lost its end
// can be refilled by an [Archive] of its spools.
//
// # What it promises
//
//   - Start returns when the record is written: it survives the end of the process, and within 100 ms, or when Sync
//     returns, a power cut too. It is accepted only while the files at hand cover the largest completion of every open
//     call; else [ErrFull].
//   - End returns nil when the record is durable. Callers at the same time share one sync.
//   - Nothing that was synced is lost, changed or invented without being named: each frame has a checksum bound to its
//     spool, segment and offset, and says up to where the file was known to be synced when it was written.
//     Damage before that is a [CorruptError]. Damage behind it, at the end of the log, is what a crash leaves: it is
//     cut, counted in [Stats], and hits nothing that was promised.
//   - Next returns only what is durable, in order, and nothing is deleted before it was acknowledged.
//   - A failed sync, or one that takes 30 s, is final ([ErrFailed]): a second try could succeed without the data.
//
// # What a crash leaves
//
// The next Open finds every record that was promised. A call with a Start and no End is in
// [Spool.Unfinished], and its owner ends it as unknown. An End that returned an error may be there or not. What
// was shipped since the last saved Ack is shipped again.
//
// # A damaged record with valid ones behind it
//
// Between two syncs the system may write pages in any order, so valid frames behind a damaged one are no evidence by
// themselves. Their marks are: if one of them, or the cursor, says that the file was synced beyond the damage,
// Open refuses to start and names file and offset. If none does, none of these records was ever acknowledged,
// and all from the damage on are cut. A segment that has a successor with a byte in it was synced whole: there any
// damage is corruption. Segments that are wholly shipped are checked when they are read, not at Open.
//
// One gap is left: for the second after the last sync, or until the next record, no mark covers the last group; damage to
// it in this time, together with a crash, is taken for a torn tail.
//
// # Order of writes
//
// A segment gets its name after its zeros and header are synced. A segment is synced whole before the first byte goes
// to its successor, which begins with its head: the number of records that are carried over, and the records of all
// calls that are open. So the last segment alone says what is open, and a shipped one can go however long a call takes.
//
// FORMAT.md has the bytes.
package spool
