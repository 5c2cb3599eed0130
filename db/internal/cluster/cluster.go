// Package cluster runs the programs of a PostgreSQL installation: it finds them,
// makes a data folder with initdb, and starts and stops a server. It decides
// nothing: db/local (the private server of manti) and db/dbtest (servers for
// tests) say where data lie, who may share them and when a server ends.
//
// It never deletes a data folder. Programs run under an Account, in a process
// group of their own, with a clean environment, so that neither a terminal's
// Ctrl-C nor a stray PG… variable reaches them.
package cluster
