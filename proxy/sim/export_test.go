package sim

import "net"

// Pipe is an in-memory connection.
func Pipe() (client, server net.Conn) { return newConns("test") }

// Reset resets a connection of Pipe.
func Reset(c net.Conn) { c.(*conn).reset() }

// Members reads the members of a JSON object.
var Members = members
