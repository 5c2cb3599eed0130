package domain

// AppendCanonical appends what Canonical returns.
func (e Encoded) AppendCanonical(b []byte) []byte {
	b = append(b, e.Public...)
	b = appendPartHash(b, e.PrivateSalt, e.Private)
	return appendPartHash(b, e.ErasableSalt, e.Erasable)
}
