package domain_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manti/domain"
)

// checkSame holds DecodeFast against Decode.
func checkSame(t *testing.T, e domain.Encoded) {
	t.Helper()
	want, wantErr := domain.Decode(e)
	got, gotErr := domain.DecodeFast(e)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("Decode: %v, DecodeFast: %v", wantErr, gotErr)
	}
	if diff := cmp.Diff(want, got, decimals); diff != "" {
		t.Errorf("DecodeFast differs (-Decode +DecodeFast):\n%s", diff)
	}
}

// variants has calls with fields left out or of unusual content.
func variants(t testing.TB) []domain.Encoded {
	var all []domain.Encoded
	for _, edit := range []func(*domain.RequestCompleted){
		func(*domain.RequestCompleted) {},
		func(r *domain.RequestCompleted) {
			*r = domain.RequestCompleted{RequestPublic: domain.RequestPublic{Charge: r.Charge}, Private: domain.RequestPrivate{Cost: r.Private.Cost}}
		},
		func(r *domain.RequestCompleted) {
			r.Erasable = domain.RequestErasable{EndUser: "a\"\\\n\u2028é", Tags: map[string]string{"\"": "<"}}
		},
		func(r *domain.RequestCompleted) { r.Erasable = domain.RequestErasable{} },
		func(r *domain.RequestCompleted) {
			r.Private.RawUsage = domain.RawJSON(`{"a":{"b":["}",{"\"":1e400}]}}`)
		},
		func(r *domain.RequestCompleted) { r.Private.RawUsage = domain.RawJSON(`[1]`) },
		func(r *domain.RequestCompleted) { r.Usage, r.Stream = domain.Metered{}, false },
		func(r *domain.RequestCompleted) {
			r.Private.Attempts = append(r.Private.Attempts, r.Private.Attempts[0], domain.Attempt{})
		},
	} {
		e := samples()[0]
		edit(e.Body.(*domain.RequestCompleted))
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, enc)
	}
	for _, reason := range []string{"", "a reason", "\"\\ é"} {
		e := samples()[6]
		e.Body.(*domain.UsageCorrected).Reason = reason
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, enc)
	}
	return all
}

func TestDecodeFastIsDecode(t *testing.T) {
	t.Parallel()
	for _, enc := range variants(t) {
		checkSame(t, enc)
		enc.Erasable = nil
		checkSame(t, enc)
	}
	for _, e := range samples() {
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, enc)
	}
}

// TestDecodeFastMeetsSurprises takes a byte out of, and puts one into, every
// place of an event.
func TestDecodeFastMeetsSurprises(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		t.Skip("one goroutine at work for a minute: the race detector has nothing to say of it")
	}
	all := variants(t)
	for _, enc := range []domain.Encoded{all[0], all[len(all)-2]} {
		for _, part := range []*[]byte{&enc.Public, &enc.Private, &enc.Erasable} {
			whole := *part
			for i := range whole {
				*part = append(bytes.Clone(whole[:i]), whole[i+1:]...)
				checkSame(t, enc)
				for _, c := range []byte(`"0,}`) {
					*part = append(append(bytes.Clone(whole[:i]), c), whole[i:]...)
					checkSame(t, enc)
				}
			}
			*part = whole
		}
	}
}

func FuzzDecodeFast(f *testing.F) {
	for _, enc := range variants(f) {
		f.Add(enc.Kind == domain.KindUsageCorrected, enc.Public, enc.Private, enc.Erasable)
	}
	f.Fuzz(func(t *testing.T, correction bool, public, private, erasable []byte) {
		kind := domain.KindRequestCompleted
		if correction {
			kind = domain.KindUsageCorrected
		}
		checkSame(t, domain.Encoded{Kind: kind, Public: public, Private: private, Erasable: erasable})
	})
}

func BenchmarkDecodeFast(b *testing.B) {
	enc := variants(b)[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := domain.DecodeFast(enc); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDecodeFastReadsAmountsDigitByDigit(t *testing.T) {
	t.Parallel()
	for _, amount := range []string{"0", "1", "0.1", "10.50", "00.5", "123456789012345678", "1234567890123456789", "0.12345678901234567", "0.123456789012345678", "1e3", "-1", ".5", "5.", "1.2.3", "+1", "", "1_0", "."} {
		enc := variants(t)[1]
		enc.Public = bytes.Replace(enc.Public, []byte(`"amount":"0.000123"`), []byte(`"amount":"`+amount+`"`), 1)
		checkSame(t, enc)
		want, err := domain.Decode(enc)
		if err != nil {
			continue
		}
		got, _ := domain.DecodeFast(enc)
		a, b := want.Body.(*domain.RequestCompleted).Charge.Amount, got.Body.(*domain.RequestCompleted).Charge.Amount
		if a.Exponent() != b.Exponent() || a.String() != b.String() {
			t.Errorf("%q: got %se%d, want %se%d", amount, b.Coefficient(), b.Exponent(), a.Coefficient(), a.Exponent())
		}
	}
}
