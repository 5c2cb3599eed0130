// Package db is the door to Postgres: a pool whose connections carry a role,
// timeouts and an exact numeric type; transactions that end on every path; the
// meaning of an SQLSTATE; and the migrations with the roles that own the schema.
//
// It promises that
//   - a password never appears in an error or a log line of this package;
//   - numeric travels between Postgres and decimal.Decimal digit by digit, never
//     through a float, and NaN or an infinity is refused;
//   - InTx ends its transaction on return, error, panic and cancellation;
//   - Migrate may be called by any number of replicas at once.
//
// After a crash nothing is left to repair: a transaction without its commit is
// gone, the migration lock ends with its connection, and each migration with
// its record is one transaction.
package db
