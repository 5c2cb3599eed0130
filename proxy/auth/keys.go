package auth

import (
	"maps"
	"net/http"
	"strings"
	"time"

	"manti/domain"
)

// Principal is who a call is made and paid for.
type Principal struct {
	Org     domain.OrgID
	Project domain.ProjectID
	Key     domain.KeyID
	User    domain.UserID
	Service domain.ServiceID
	// Expires is when the key stops working; zero is never.
	Expires time.Time
}

const shards = 256

// Keys is an immutable snapshot of all keys that may call. The zero value has
// none.
type Keys struct {
	byHash [shards]map[Hash]*Principal
	// hashOf finds a key among the shards, to remove it.
	hashOf map[domain.KeyID]Hash
	size   int
}

// Change is one key that appeared, changed or, with a nil Principal, went.
type Change struct {
	Key       domain.KeyID
	Hash      Hash
	Principal *Principal
}

// With is a snapshot with the changes applied in order. It copies only the
// shards that they touch.
func (k *Keys) With(changes []Change) *Keys {
	next := &Keys{byHash: k.byHash, hashOf: maps.Clone(k.hashOf), size: k.size}
	if next.hashOf == nil {
		next.hashOf = map[domain.KeyID]Hash{}
	}
	var copied [shards]bool
	shard := func(h Hash) map[Hash]*Principal {
		i := h[0]
		if !copied[i] {
			copied[i] = true
			if next.byHash[i] = maps.Clone(next.byHash[i]); next.byHash[i] == nil {
				next.byHash[i] = map[Hash]*Principal{}
			}
		}
		return next.byHash[i]
	}
	for _, c := range changes {
		if old, ok := next.hashOf[c.Key]; ok {
			delete(shard(old), old)
			delete(next.hashOf, c.Key)
			next.size--
		}
		if c.Principal != nil {
			shard(c.Hash)[c.Hash] = c.Principal
			next.hashOf[c.Key] = c.Hash
			next.size++
		}
	}
	return next
}

// Len is the number of keys.
func (k *Keys) Len() int { return k.size }

// All calls yield for each key, in no order.
func (k *Keys) All(yield func(Hash, *Principal) bool) {
	for _, shard := range k.byHash {
		for h, p := range shard {
			if !yield(h, p) {
				return
			}
		}
	}
}

// Find is the principal of a key that may call now.
func (k *Keys) Find(h Hash, now time.Time) (*Principal, bool) {
	p, ok := k.byHash[h[0]][h]
	if !ok || (!p.Expires.IsZero() && !now.Before(p.Expires)) {
		return nil, false
	}
	return p, true
}

// FromRequest is the key that a request carries: "Authorization: Bearer …" or
// "x-api-key: …". It is empty if there is none.
func FromRequest(h http.Header) domain.Secret {
	if v := h.Get("Authorization"); len(v) > 7 && strings.EqualFold(v[:7], "Bearer ") {
		return domain.Secret(strings.TrimSpace(v[7:]))
	}
	return domain.Secret(strings.TrimSpace(h.Get("X-Api-Key")))
}
