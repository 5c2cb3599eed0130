package local

// NextDelay is the wait between attempts to start the server again.
var NextDelay = nextDelay
