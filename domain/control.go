package domain

import "time"

// OrgCreated: an organisation exists from now on.
type OrgCreated struct {
	Org      OrgID `json:"org"`
	Erasable Named `json:"-"`
}

// ProjectCreated: a project of an organisation exists from now on.
type ProjectCreated struct {
	Org      OrgID     `json:"org"`
	Project  ProjectID `json:"project"`
	Erasable Named     `json:"-"`
}

// KeyIssued: a key may call from now on.
type KeyIssued struct {
	Org     OrgID     `json:"org"`
	Project ProjectID `json:"project"`
	Key     KeyID     `json:"key"`
	User    UserID    `json:"user,omitzero"`
	Service ServiceID `json:"service,omitzero"`
	// Expires is when the key stops working by itself; zero is never.
	Expires  time.Time `json:"expires,omitzero"`
	Private  KeySecret `json:"-"`
	Erasable Named     `json:"-"`
}

// KeySecret is how a key is recognised. A stored hash never works as a key.
type KeySecret struct {
	// Hash is HMAC-SHA-256(pepper, SHA-256(key)), in hex.
	Hash string `json:"hash"`
	// Hint is the last four characters of the key, for people to tell keys
	// apart.
	Hint string `json:"hint,omitempty"`
}

// KeyRevoked: the key may not call any more.
type KeyRevoked struct {
	Org     OrgID     `json:"org"`
	Project ProjectID `json:"project"`
	Key     KeyID     `json:"key"`
}

// PricesPublished: a new version of the price book holds for calls admitted
// from now on. The event's id is the version's name.
type PricesPublished struct {
	// Number counts the versions from 1.
	Number int `json:"number"`
	// Digest is the SHA-256 of the book's JSON, in hex.
	Digest  string     `json:"digest"`
	Private *PriceBook `json:"-"`
}

// Named is a name that people gave, ≤ 256 bytes.
type Named struct {
	Name string `json:"name"`
}

func (n *Named) orNil() any {
	if n.Name == "" {
		return nil
	}
	return n
}

// Kind is KindOrgCreated.
func (*OrgCreated) Kind() Kind { return KindOrgCreated }

func (o *OrgCreated) parts() (public, private, erasable any) { return o, nil, o.Erasable.orNil() }

// Kind is KindProjectCreated.
func (*ProjectCreated) Kind() Kind { return KindProjectCreated }

func (p *ProjectCreated) parts() (public, private, erasable any) { return p, nil, p.Erasable.orNil() }

// Kind is KindKeyIssued.
func (*KeyIssued) Kind() Kind { return KindKeyIssued }

func (k *KeyIssued) parts() (public, private, erasable any) {
	return k, &k.Private, k.Erasable.orNil()
}

// Kind is KindKeyRevoked.
func (*KeyRevoked) Kind() Kind { return KindKeyRevoked }

func (k *KeyRevoked) parts() (public, private, erasable any) { return k, nil, nil }

// Kind is KindPricesPublished.
func (*PricesPublished) Kind() Kind { return KindPricesPublished }

func (p *PricesPublished) parts() (public, private, erasable any) { return p, p.Private, nil }
