package verify_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"manti/domain"
	"manti/ledger/internal/row"
	"manti/ledger/verify"
)

// A pair is an event's row and that of its erasable part, field by field; nil is
// NULL.
type pair struct{ event, erasable [][]byte }

var rowTime = time.UnixMicro(1_700_000_000_123_456).UTC()

// pairOf is what the ledger has of an event.
func pairOf(t testing.TB, enc domain.Encoded) (pair, error) {
	t.Helper()
	r, err := row.New(enc, new(row.Arena))
	if err != nil {
		return pair{}, err
	}
	return pair{taken(t, r.AppendEvent(nil, 7, rowTime)), taken(t, r.AppendErasable(nil, 7))}, nil
}

func taken(t testing.TB, fields []byte) (all [][]byte) {
	t.Helper()
	for len(fields) > 0 {
		n := int32(binary.BigEndian.Uint32(fields))
		if fields = fields[4:]; n < 0 {
			all = append(all, nil)
			continue
		}
		all = append(all, fields[:n:n])
		fields = fields[n:]
	}
	return all
}

func joined(fields [][]byte) (all []byte) {
	for _, field := range fields {
		if field == nil {
			all = binary.BigEndian.AppendUint32(all, 0xffffffff)
			continue
		}
		all = append(binary.BigEndian.AppendUint32(all, uint32(len(field))), field...)
	}
	return all
}

// bothWays fails the test where the quick way sees nothing wrong and the thorough
// one does.
func (p pair) bothWays(t testing.TB) (quick bool) {
	t.Helper()
	quick, findings := verify.BothWays(joined(p.event), joined(p.erasable))
	if quick && len(findings) > 0 {
		t.Fatalf("the quick way passes what is wrong: %v\n%s\n%s\n%s", findings, p.event[9], p.event[11], p.erasable)
	}
	return quick
}

// rewritten is the row with other parts, and the hashes and the leaf of these.
func (p pair) rewritten(enc domain.Encoded) pair {
	canonical := enc.Canonical()
	leaf := domain.LeafHash(rowTime, canonical)
	p = pair{slices.Clone(p.event), slices.Clone(p.erasable)}
	p.event[2], p.event[9], p.event[11] = leaf[:], canonical, enc.Private
	if p.erasable != nil {
		p.erasable[3] = enc.Erasable
	}
	return p
}

// calls are of every shape that the quick way tells apart; it reads all of them.
func calls(t testing.TB) map[string]domain.Encoded {
	t.Helper()
	all := map[string]domain.Encoded{}
	for name, edit := range map[string]func(*domain.RequestCompleted){
		"plain": func(*domain.RequestCompleted) {},
		"full": func(c *domain.RequestCompleted) {
			*c = *fullCall()
			c.Erasable.Tags = map[string]string{"bb": "1", "a": "", "ccc": "x", "aa": "<"}
			lease := domain.Lease{Budget: newID[domain.EventID](), Window: now().Truncate(time.Hour), Lease: newID[domain.EventID](), Hold: dec("1.5")}
			c.Private.PaidFrom = []domain.Lease{lease, lease}
		},
		"of a try": func(c *domain.RequestCompleted) {
			c.Request, c.Supersedes = newID[domain.EventID](), newID[domain.EventID]()
		},
		"bare": func(c *domain.RequestCompleted) {
			*c = domain.RequestCompleted{RequestPublic: domain.RequestPublic{Org: c.Org, Project: c.Project, Charge: c.Charge}, Private: domain.RequestPrivate{Cost: c.Private.Cost}}
		},
		"tries": func(c *domain.RequestCompleted) {
			more := c.Private.Attempts[0]
			more.RequestID, more.Error, more.Usage, more.Status = "", domain.CodeUpstream, domain.Metered{1, 2}, 0
			c.Private.Attempts = append(c.Private.Attempts, more, c.Private.Attempts[0])
		},
		"raw": func(c *domain.RequestCompleted) {
			c.Private.RawUsage = domain.RawJSON(`{"a":[],"b":{},"c":[1,[2,true],{"d":null}],"e":false,"":"x"}`)
		},
	} {
		call := plainCall()
		edit(call)
		all[name] = encode(t, domain.Event{Body: call, Author: "key:1"})
	}
	for _, amount := range []string{"0", "1", "1.500", "0.0001", "10000", "100000000", "12345.678", "99999999999999", "0.0000000000001", "20001.00020"} {
		call := plainCall()
		call.Charge.Amount, call.Private.Cost.Amount, call.Held = dec(amount), dec(amount), decimal.New(1, -3)
		all[amount] = encode(t, domain.Event{Body: call})
	}
	return all
}

func TestTheQuickWayReadsMostCalls(t *testing.T) {
	t.Parallel()
	for name, enc := range calls(t) {
		p, err := pairOf(t, enc)
		if err != nil {
			t.Fatal(err)
		}
		if !p.bothWays(t) {
			t.Errorf("%s: left to the thorough way: %s %s %s", name, enc.Public, enc.Private, enc.Erasable)
		}
	}
	for name, edit := range map[string]func(*domain.RequestCompleted){
		"no tags that fit": func(c *domain.RequestCompleted) { c.Erasable.Tags = map[string]string{"é": "\""} },
		"a long amount":    func(c *domain.RequestCompleted) { c.Charge.Amount = dec("123456789012345.678") },
		"a fraction":       func(c *domain.RequestCompleted) { c.Private.RawUsage = domain.RawJSON(`{"a":-1.5e3}`) },
		"a text":           func(c *domain.RequestCompleted) { c.Private.Flags = []string{"a\nb"} },
	} {
		call := plainCall()
		edit(call)
		p, err := pairOf(t, encode(t, domain.Event{Body: call}))
		if err != nil {
			t.Fatal(err)
		}
		if p.bothWays(t) {
			t.Errorf("%s: read the quick way", name)
		}
	}
}

// Each column is set to NULL, to nothing, to each other column's value, cut,
// lengthened, and changed in each of its bytes.
func TestTheQuickWayMissesNoColumn(t *testing.T) {
	t.Parallel()
	all := calls(t)
	for _, name := range []string{"plain", "full", "bare"} {
		p, err := pairOf(t, all[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, fields := range [][][]byte{p.event, p.erasable} {
			for c, value := range fields {
				if c == 0 && len(fields) == len(p.event) {
					continue // the index is the place where the row is found
				}
				for _, other := range edited(value, p) {
					if fields[c] = other; p.bothWays(t) && !same(other, value) {
						t.Fatalf("column %d: %x passes for %x", c, other, value)
					}
				}
				fields[c] = value
			}
		}
	}
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func edited(value []byte, p pair) (all [][]byte) {
	all = append(slices.Concat(p.event, p.erasable), nil, []byte{}, append(bytes.Clone(value), 0), append(bytes.Clone(value), '1'))
	for i := range min(len(value), 64) {
		for _, flip := range []byte{1, 0x80} {
			other := bytes.Clone(value)
			other[i] ^= flip
			all = append(all, other)
		}
		all = append(all, value[:i])
	}
	return all
}

// Bytes are taken out of each part and put in, and what hashes them is made anew:
// what nobody can decode doesn't pass, nor what says something else.
func TestTheQuickWayMeetsSurprises(t *testing.T) {
	t.Parallel()
	all := calls(t)
	for _, name := range []string{"full", "raw"} {
		enc := all[name]
		p, err := pairOf(t, enc)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []*[]byte{&enc.Public, &enc.Private, &enc.Erasable} {
			whole := *part
			for i := range len(whole) + 1 {
				for _, c := range []byte(`"0,\`) {
					*part = slices.Insert(bytes.Clone(whole), i, c)
					p.rewritten(enc).bothWays(t)
					if i < len(whole) {
						*part = slices.Replace(bytes.Clone(whole), i, i+1, c)
						p.rewritten(enc).bothWays(t)
					}
				}
				if i < len(whole) {
					*part = slices.Delete(bytes.Clone(whole), i, i+1)
					p.rewritten(enc).bothWays(t)
				}
			}
			*part = whole
		}
	}
}

// Whatever the parts and one column are, the quick way passes nothing that the
// thorough one doesn't.
func FuzzQuick(f *testing.F) {
	for _, enc := range calls(f) {
		f.Add(enc.Public, enc.Private, enc.Erasable, uint8(255), []byte(nil))
	}
	plain := encode(f, domain.Event{Body: plainCall()})
	known, err := pairOf(f, plain)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain.Public, plain.Private, plain.Erasable, uint8(20), []byte("chat"))
	f.Fuzz(func(t *testing.T, public, private, erasable []byte, column uint8, value []byte) {
		enc := domain.Encoded{ID: plain.ID, Kind: plain.Kind, Public: public, Private: private, Erasable: erasable, PrivateSalt: plain.PrivateSalt, ErasableSalt: plain.ErasableSalt}
		if e, err := domain.Decode(enc); err == nil {
			enc.ID, enc.Kind = e.ID, e.Body.Kind()
		}
		p, err := pairOf(t, enc)
		if err != nil {
			p = known.rewritten(enc)
		}
		if int(column) < len(p.event) {
			p.event[column] = value
		}
		p.bothWays(t)
	})
}

func BenchmarkQuick(b *testing.B) {
	p, err := pairOf(b, encode(b, domain.Event{Body: plainCall()}))
	if err != nil {
		b.Fatal(err)
	}
	quick := verify.Quick(joined(p.event), joined(p.erasable))
	b.ReportAllocs()
	began := ownTime(b)
	for b.Loop() {
		if !quick() {
			b.Fatal("left to the thorough way")
		}
	}
	b.ReportMetric(float64((ownTime(b)-began).Nanoseconds())/float64(b.N), "client-ns/op")
}
