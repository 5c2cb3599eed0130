package direct

// Doubt makes the log behave as one that couldn't show for long that it lives.
func (l *Log) Doubt() { l.seen.Store(0) }
