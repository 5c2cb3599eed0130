package domain_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"golang.org/x/mod/sumdb/tlog"

	"manti/domain"
)

var update = flag.Bool("update", false, "rewrite testdata")

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic("domain_test: " + err.Error())
	}
	return t.UTC()
}

func id[I ~[16]byte](b byte) I {
	return domain.NewID[I](at("2026-11-22T12:00:00Z"), [10]byte{b, b, b, b, b, b, b, b, b, b})
}

func usage(pairs map[domain.Meter]int64) (u domain.Usage) {
	for m, n := range pairs {
		u[m] = n
	}
	return u
}

// samples has an event of every kind, with every field set at least once.
func samples() []domain.Event {
	when := at("2026-11-22T12:00:00.123456Z")
	full := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{
			Request: id[domain.EventID](1), Supersedes: id[domain.EventID](2),
			Org: id[domain.OrgID](3), Project: id[domain.ProjectID](4), Key: id[domain.KeyID](5), User: id[domain.UserID](6), Service: id[domain.ServiceID](7),
			Dialect: "openai", Endpoint: "chat.completions", Stream: true, AskedModel: "gpt-4o", Model: "gpt-4o", Tier: "default",
			FirstByte: when.Add(time.Millisecond), FirstToken: when.Add(2 * time.Millisecond), Ended: when.Add(time.Second),
			Outcome: domain.Completed, Status: 200, Error: domain.CodeUpstream,
			Usage:      domain.Metered(usage(map[domain.Meter]int64{domain.InputTokens: 10, domain.CacheReadTokens: 5, domain.OutputTokens: 7, domain.ReasoningTokens: 3})),
			Provenance: domain.Estimated, Estimator: "e-1",
			Charge: domain.Price{Amount: decimal.RequireFromString("0.000123"), Currency: "USD", Version: id[domain.EventID](8)},
			Held:   decimal.RequireFromString("1.5"),
		},
		Private: domain.RequestPrivate{
			Provider: "openai", Host: "api.openai.com", Region: "us", Credential: id[domain.CredentialID](9),
			Cost: domain.Price{Amount: decimal.RequireFromString("0.0001"), Currency: "USD", Version: id[domain.EventID](8)},
			Attempts: []domain.Attempt{{Provider: "openai", Host: "api.openai.com", Model: "gpt-4o", Credential: id[domain.CredentialID](9), RequestID: "req_1",
				Started: when, FirstByte: when, Ended: when, Status: 200, Error: domain.CodeUpstream, Usage: domain.Metered{domain.InputTokens: 10}, Cost: decimal.RequireFromString("0.0001")}},
			RawUsage: domain.RawJSON(`{"prompt_tokens":15}`), RouteVersion: "r1", ConfigVersion: "c1", Replica: "a", Spool: id[domain.SpoolID](10), Epoch: 3,
			PaidFrom: []domain.Lease{{Budget: id[domain.EventID](11), Window: when, Lease: id[domain.EventID](12), Hold: decimal.RequireFromString("0.2")}},
			Flags:    []string{domain.FlagUnpriced},
		},
		Erasable: domain.RequestErasable{EndUser: "ada <&>", Session: "s", Client: "curl/8", Trace: strings.Repeat("a", 32), Tags: map[string]string{"b": "2", "a": "1"}, ServedModel: "m", ErrorText: "boom"},
	}
	book := &domain.PriceBook{Source: "test", Models: []domain.ModelCard{{Provider: "openai", Name: "gpt-4o", Kind: domain.ChatModel, ContextLimit: 128000, OutputLimit: 16384,
		Prices: []domain.ModelPrice{{Cost: domain.PriceList{Currency: "USD", Tiers: []domain.RateTier{{Rates: rates("input", "2.5", "output", "10")}}}}}}}}
	bodies := []domain.Body{
		full,
		&domain.OrgCreated{Org: id[domain.OrgID](3), Erasable: domain.Named{Name: "Acme"}},
		&domain.ProjectCreated{Org: id[domain.OrgID](3), Project: id[domain.ProjectID](4), Erasable: domain.Named{Name: "Web"}},
		&domain.KeyIssued{Org: id[domain.OrgID](3), Project: id[domain.ProjectID](4), Key: id[domain.KeyID](5), User: id[domain.UserID](6), Service: id[domain.ServiceID](7), Expires: when,
			Private: domain.KeySecret{Hash: strings.Repeat("ab", 32), Hint: "wxyz"}, Erasable: domain.Named{Name: "CI"}},
		&domain.KeyRevoked{Org: id[domain.OrgID](3), Project: id[domain.ProjectID](4), Key: id[domain.KeyID](5)},
		&domain.PricesPublished{Number: 1, Digest: strings.Repeat("cd", 32), Private: book},
		&domain.UsageCorrected{Call: *full, Basis: domain.Rerate, Reason: "the list price of \"gpt-4o\" was wrong <&>"},
		&domain.RejectionAnswered{Digest: strings.Repeat("ef", 32), Cause: "sent twice by a test"},
		&domain.PersonForgotten{User: id[domain.UserID](6), Indexes: []int64{3, 5, 1 << 24}, Through: 1<<24 + 1},
		&domain.OriginStarted{Origin: "manti/b", Previous: "manti/a\n7\nhash\n\n— manti/a sig\n", Size: 5, Missing: []domain.IndexRange{{From: 5, To: 7}}, Cause: "the disk was lost"},
	}
	var events []domain.Event
	for i, b := range bodies {
		events = append(events, domain.Event{ID: id[domain.EventID](byte(100 + i)), At: when, Author: "system:test", Body: b})
	}
	return events
}

func rates(pairs ...string) domain.Rates {
	r := domain.Rates{}
	for i := 0; i < len(pairs); i += 2 {
		r[pairs[i]] = decimal.RequireFromString(pairs[i+1])
	}
	return r
}

var decimals = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })

func TestEncodingIsFinal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	for _, e := range samples() {
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\npublic   %s\nprivate  %s\nerasable %s\ncanonical %x\nrecord %x\nleaf %x\n\n",
			enc.Kind, enc.Public, enc.Private, enc.Erasable, enc.Canonical()[len(enc.Public):], enc.AppendRecord(nil), domain.LeafHash(e.At, enc.Canonical()))
	}
	const golden = "testdata/encoding_v1.txt"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("version 1 of the encoding must stay as it is for ever (-want +got):\n%s", diff)
	}
}

func TestEncodeDecodeRoundTrip(t *testing.T) {
	t.Parallel()
	for _, e := range samples() {
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := domain.ParseRecord(enc.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(enc, parsed); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		got, err := domain.Decode(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got, decimals); diff != "" {
			t.Errorf("%s (-want +got):\n%s", enc.Kind, diff)
		}
	}
}

func TestEveryFieldOfTheSamplesIsSet(t *testing.T) {
	t.Parallel()
	enc, err := domain.Encode(samples()[0], domain.Salt{1}, domain.Salt{2})
	if err != nil {
		t.Fatal(err)
	}
	all := string(enc.Public) + string(enc.Private) + string(enc.Erasable)
	for _, name := range []string{"request", "supersedes", "user", "service", "tier", "first_byte", "first_token", "ended", "status", "error", "estimator", "held",
		"region", "credential", "attempts", "raw_usage", "route_version", "config_version", "replica", "spool", "epoch", "paid_from", "flags",
		"end_user", "session", "client", "trace", "tags", "served_model", "error_text", "request_id"} {
		if !strings.Contains(all, `"`+name+`":`) {
			t.Errorf("field %s is in no part", name)
		}
	}
	if strings.Contains(string(enc.Public), "api.openai.com") || strings.Contains(string(enc.Public), "ada") {
		t.Error("the public part holds what only the operator may see, or what must be erasable")
	}
}

func TestLeafHashIsRFC6962(t *testing.T) {
	t.Parallel()
	when := at("2026-11-22T12:00:00.123456Z")
	canonical := []byte("some bytes")
	want := tlog.RecordHash(domain.LogEntry(when, canonical))
	if got := domain.LeafHash(when, canonical); got != [32]byte(want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestErasingLeavesTheCanonicalBytes(t *testing.T) {
	t.Parallel()
	enc, err := domain.Encode(samples()[0], domain.Salt{1}, domain.Salt{2})
	if err != nil {
		t.Fatal(err)
	}
	public, private, erasable, err := domain.SplitCanonical(enc.Canonical())
	if err != nil || !bytes.Equal(public, enc.Public) {
		t.Fatalf("split: %v", err)
	}
	if private != domain.PartHash(enc.PrivateSalt, enc.Private) || erasable != domain.PartHash(enc.ErasableSalt, enc.Erasable) {
		t.Error("the parts' hashes differ from what SplitCanonical found")
	}
	enc.Erasable = nil
	if _, err := domain.Decode(enc); err != nil {
		t.Errorf("an erased event must still decode: %v", err)
	}
	if domain.PartHash(domain.Salt{}, enc.Private) == private {
		t.Error("the salt has no effect")
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(*domain.Event, *domain.RequestCompleted)
	}{
		{"no id", func(e *domain.Event, _ *domain.RequestCompleted) { e.ID = domain.EventID{} }},
		{"no time", func(e *domain.Event, _ *domain.RequestCompleted) { e.At = time.Time{} }},
		{"nanoseconds", func(e *domain.Event, _ *domain.RequestCompleted) { e.At = e.At.Add(1) }},
		{"another zone", func(e *domain.Event, _ *domain.RequestCompleted) { e.At = e.At.In(time.FixedZone("x", 3600)) }},
		{"19 decimals", func(_ *domain.Event, r *domain.RequestCompleted) { r.Charge.Amount = decimal.New(1, -19) }},
		{"a negative cost", func(_ *domain.Event, r *domain.RequestCompleted) { r.Private.Cost.Amount = decimal.New(-1, 0) }},
		{"no currency", func(_ *domain.Event, r *domain.RequestCompleted) { r.Charge.Currency = "" }},
		{"a NUL", func(_ *domain.Event, r *domain.RequestCompleted) { r.Erasable.EndUser = "a\x00" }},
		{"invalid UTF-8", func(_ *domain.Event, r *domain.RequestCompleted) { r.Erasable.Tags["x"] = "\xff" }},
		{"a long text", func(_ *domain.Event, r *domain.RequestCompleted) { r.Erasable.ErrorText = strings.Repeat("x", 2000) }},
		{"a long usage object", func(_ *domain.Event, r *domain.RequestCompleted) { r.Private.RawUsage = make([]byte, 5000) }},
		{"negative usage", func(_ *domain.Event, r *domain.RequestCompleted) { r.Usage[0] = -1 }},
		{"an attempt's negative usage", func(_ *domain.Event, r *domain.RequestCompleted) { r.Private.Attempts[0].Usage[0] = -1 }},
		{"a status that is none", func(_ *domain.Event, r *domain.RequestCompleted) { r.Status = 1000 }},
		{"a correction of no request", func(_ *domain.Event, r *domain.RequestCompleted) { r.Request = domain.EventID{} }},
		{"nine attempts", func(_ *domain.Event, r *domain.RequestCompleted) { r.Private.Attempts = make([]domain.Attempt, 9) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := samples()[0]
			test.edit(&e, e.Body.(*domain.RequestCompleted))
			if _, err := domain.Encode(e, domain.Salt{}, domain.Salt{}); err == nil {
				t.Error("got no error")
			}
			e.Body.(*domain.RequestCompleted).Clean()
		})
	}
}

func TestEncodeRefusesEvidence(t *testing.T) {
	t.Parallel()
	call := *samples()[0].Body.(*domain.RequestCompleted)
	first, negative := call, call
	first.Supersedes = domain.EventID{}
	negative.Charge.Amount = decimal.New(-1, 0)
	long := strings.Repeat("x", domain.MaxReason+1)
	digest := strings.Repeat("ef", 32)
	many := make([]int64, domain.MaxForgotten+1)
	for i := range many {
		many[i] = int64(i)
	}
	tests := []struct {
		name string
		body domain.Body
	}{
		{"a correction of nothing", &domain.UsageCorrected{Call: first, Basis: domain.Manual}},
		{"a correction of no basis", &domain.UsageCorrected{Call: call}},
		{"a correction to less than nothing", &domain.UsageCorrected{Call: negative, Basis: domain.Manual}},
		{"a correction with a long reason", &domain.UsageCorrected{Call: call, Basis: domain.Manual, Reason: long}},
		{"an answer to no digest", &domain.RejectionAnswered{Cause: "x"}},
		{"an answer in capitals", &domain.RejectionAnswered{Digest: strings.ToUpper(digest), Cause: "x"}},
		{"an answer without a cause", &domain.RejectionAnswered{Digest: digest}},
		{"an answer with a long cause", &domain.RejectionAnswered{Digest: digest, Cause: long}},
		{"nothing forgotten", &domain.PersonForgotten{Through: 1}},
		{"too much forgotten", &domain.PersonForgotten{Indexes: many, Through: 5000}},
		{"a part forgotten twice", &domain.PersonForgotten{Indexes: []int64{1, 1}, Through: 5}},
		{"parts out of order", &domain.PersonForgotten{Indexes: []int64{2, 1}, Through: 5}},
		{"a part below the ledger", &domain.PersonForgotten{Indexes: []int64{-1}, Through: 5}},
		{"a part beyond the ledger", &domain.PersonForgotten{Indexes: []int64{5}, Through: 5}},
		{"an origin without a name", &domain.OriginStarted{Cause: "x"}},
		{"an origin without a cause", &domain.OriginStarted{Origin: "x"}},
		{"an origin after no checkpoint", &domain.OriginStarted{Origin: "x", Previous: strings.Repeat("x", domain.MaxNote+1), Cause: "x"}},
		{"an origin at no size", &domain.OriginStarted{Origin: "x", Size: -1, Cause: "x"}},
		{"an origin that misses nothing", &domain.OriginStarted{Origin: "x", Missing: []domain.IndexRange{{From: 3, To: 3}}, Cause: "x"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := samples()[0]
			e.Body = test.body
			if _, err := domain.Encode(e, domain.Salt{}, domain.Salt{}); err == nil {
				t.Error("got no error")
			}
		})
	}
}

// The largest event of each kind of evidence is within what a record may be.
func TestEvidenceFitsARecord(t *testing.T) {
	t.Parallel()
	indexes := make([]int64, domain.MaxForgotten)
	for i := range indexes {
		indexes[i] = 1<<62 + int64(i)
	}
	missing := make([]domain.IndexRange, domain.MaxMissing)
	for i := range missing {
		missing[i] = domain.IndexRange{From: 1 << 62, To: 1<<62 + 1}
	}
	text := strings.Repeat("é", domain.MaxReason/2)
	for _, body := range []domain.Body{
		&domain.PersonForgotten{Indexes: indexes, Through: 1<<62 + 5000},
		&domain.OriginStarted{Origin: strings.Repeat("o", domain.MaxOrigin), Previous: strings.Repeat("n", domain.MaxNote), Missing: missing, Cause: text},
		&domain.RejectionAnswered{Digest: strings.Repeat("ef", 32), Cause: text},
	} {
		e := samples()[0]
		e.Body = body
		enc, err := domain.Encode(e, domain.Salt{}, domain.Salt{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(enc.AppendRecord(nil)); n > domain.MaxRecordBytes {
			t.Errorf("%s: a record of %d bytes", enc.Kind, n)
		}
	}
}

func TestCallOf(t *testing.T) {
	t.Parallel()
	for _, e := range samples() {
		call, ok := domain.CallOf(e.Body)
		if ok != e.Body.Kind().IsCall() {
			t.Errorf("%s: a call: %t", e.Body.Kind(), ok)
		}
		if ok && (call.RequestID(e.ID) != id[domain.EventID](1) || e.Body.Kind().IsControl()) {
			t.Errorf("%s: %+v", e.Body.Kind(), call)
		}
	}
}

func TestNewerEncodingsAreNamedAsSuch(t *testing.T) {
	t.Parallel()
	for _, public := range []string{
		`{"v":2,"kind":"RequestCompleted","id":"` + id[domain.EventID](1).String() + `","at":"2026-11-22T12:00:00Z","body":{}}`,
		`{"v":1,"kind":"FutureKind","id":"` + id[domain.EventID](1).String() + `","at":"2026-11-22T12:00:00Z","body":{}}`,
	} {
		_, err := domain.Decode(domain.Encoded{Public: []byte(public)})
		if err == nil || !strings.Contains(err.Error(), "newer manti") {
			t.Errorf("%s: got %v", public, err)
		}
	}
}

func TestStartedBecomesUnknown(t *testing.T) {
	t.Parallel()
	s := domain.Started{ID: id[domain.EventID](1), At: at("2026-11-22T12:00:00Z"), Org: id[domain.OrgID](2), Dialect: "openai", Endpoint: "chat.completions",
		AskedModel: "a", Model: "b", Provider: "openai", Held: decimal.RequireFromString("0.25"), Currency: "USD", Version: id[domain.EventID](3)}
	b, err := domain.EncodeStarted(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := domain.DecodeStarted(b)
	if err != nil {
		t.Fatal(err)
	}
	e := back.Unknown()
	r := e.Body.(*domain.RequestCompleted)
	if e.ID != s.ID || r.Outcome != domain.Unknown || !r.Charge.Amount.IsZero() || !r.Private.Cost.Amount.IsZero() || !r.Held.Equal(s.Held) {
		t.Errorf("got %+v", r)
	}
	if _, err := domain.Encode(e, domain.Salt{}, domain.Salt{}); err != nil {
		t.Errorf("an unknown call must encode: %v", err)
	}
}

// TestStartedIsWhatItsTagsSay holds the hand-written encoding of a start
// against encoding/json.
func TestStartedIsWhatItsTagsSay(t *testing.T) {
	t.Parallel()
	full := samples()[0].Body.(*domain.RequestCompleted)
	for _, tc := range []struct {
		name string
		s    domain.Started
	}{
		{"nothing set", domain.Started{ID: id[domain.EventID](1)}},
		{"everything set", domain.Started{ID: id[domain.EventID](1), At: at("2026-11-22T12:00:00.5Z"), Org: full.Org, Project: full.Project, Key: full.Key, User: full.User, Service: full.Service,
			Dialect: "openai", Endpoint: "chat.completions", Stream: true, AskedModel: "a \"quoted\" <model>", Provider: "openai", Host: "h:1", Model: "m", Credential: full.Private.Credential,
			Attempt: 2, Held: decimal.RequireFromString("0.25"), Currency: "USD", Version: full.Charge.Version, PaidFrom: full.Private.PaidFrom,
			RouteVersion: "r", ConfigVersion: "c", Replica: "a", Spool: full.Private.Spool, Epoch: 1<<64 - 1, Erasable: full.Erasable}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := domain.EncodeStarted(tc.s)
			if err != nil {
				t.Fatal(err)
			}
			tc.s.V = 1
			var want bytes.Buffer
			e := json.NewEncoder(&want)
			e.SetEscapeHTML(false)
			if err := e.Encode(tc.s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), string(got)+"\n"); diff != "" {
				t.Errorf("(-encoding/json +ours):\n%s", diff)
			}
		})
	}
	if b, err := domain.EncodeStarted(domain.Started{At: at("9999-12-31T23:59:59Z").Add(time.Second)}); err == nil {
		t.Errorf("encoded the year 10000: %s", b)
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, e := range samples() {
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(enc.AppendRecord(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := domain.ParseRecord(b)
		if err != nil {
			return
		}
		again, err := domain.ParseRecord(e.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Error(diff)
		}
		_, _ = domain.Decode(e) // must not panic, whatever it holds
	})
}

// What is written by hand is what encoding/json makes of the structs' tags.
func TestHandWrittenEncodingIsTheTags(t *testing.T) {
	t.Parallel()
	plain := func(v any) string {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(buf.String(), "\n")
	}
	full := samples()[0]
	strange := samples()[0]
	r := strange.Body.(*domain.RequestCompleted)
	r.Erasable.EndUser = "\"\\\b\f\n\r\t\x01\x1f\x7f é \u2028\u2029 😀 <>&"
	r.Erasable.Tags = map[string]string{"z\n": "\u2028", "": "x", "a": ""}
	r.Private.Flags = []string{"b", "a"}
	correction, bare := samples()[6], samples()[6]
	correction.Body.(*domain.UsageCorrected).Reason = "\"\\ é \u2028 <>&"
	call := correction.Body.(*domain.UsageCorrected).Call
	bare.Body = &domain.UsageCorrected{Basis: domain.Waive, Call: domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{Request: call.Request, Supersedes: call.Supersedes, Charge: domain.Price{Currency: "USD"}}, Private: domain.RequestPrivate{Cost: domain.Price{Currency: "USD"}}}}
	for _, e := range []domain.Event{full, strange, correction, bare, {ID: full.ID, At: full.At, Body: &domain.RequestCompleted{RequestPublic: domain.RequestPublic{Charge: domain.Price{Currency: "USD"}}, Private: domain.RequestPrivate{Cost: domain.Price{Currency: "USD"}}}}} {
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := domain.CallOf(e.Body)
		public, private := any(r.RequestPublic), any(r.Private)
		if c, ok := e.Body.(*domain.UsageCorrected); ok {
			public = struct {
				domain.RequestPublic
				Basis domain.Basis `json:"basis"`
			}{r.RequestPublic, c.Basis}
			private = struct {
				domain.RequestPrivate
				Reason string `json:"reason"`
			}{r.Private, c.Reason}
		}
		if want := plain(private); string(enc.Private) != want {
			t.Errorf("private:\ngot  %s\nwant %s", enc.Private, want)
		}
		if enc.Erasable != nil {
			if want := plain(r.Erasable); string(enc.Erasable) != want {
				t.Errorf("erasable:\ngot  %s\nwant %s", enc.Erasable, want)
			}
		}
		if want := `"body":` + plain(public) + "}"; !strings.HasSuffix(string(enc.Public), want) {
			t.Errorf("public:\ngot  %s\nwant …%s", enc.Public, want)
		}
	}
}

func BenchmarkEncodeRequest(b *testing.B) {
	e := samples()[0]
	for b.Loop() {
		enc, err := domain.Encode(e, domain.Salt{1}, domain.Salt{2})
		if err != nil {
			b.Fatal(err)
		}
		_ = enc.Canonical()
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	enc, err := domain.Encode(samples()[0], domain.Salt{1}, domain.Salt{2})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := domain.Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCleanTextCutsAtACharacter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"short", "short"}, {"ééé", "éé"}, {"a\x00b", "a\uFFFDb"}, {"\xff", "\uFFFD"}, {"12345678", "12345"},
	} {
		if got := domain.CleanText(test.in, 5); got != test.want {
			t.Errorf("CleanText(%q): got %q, want %q", test.in, got, test.want)
		}
	}
}

func TestCleanedEventsEncode(t *testing.T) {
	t.Parallel()
	e := samples()[0]
	r := e.Body.(*domain.RequestCompleted)
	r.Erasable.EndUser = strings.Repeat("é\x00\xff", 500)
	r.Erasable.ErrorText = strings.Repeat("x", 5000)
	for i := range 20 {
		r.Erasable.Tags[strings.Repeat("k", 100)+fmt.Sprint(i)] = strings.Repeat("v", 1000)
	}
	r.Private.RawUsage = domain.RawJSON(`"` + strings.Repeat("x", 9000) + `"`)
	r.Private.Attempts[0].RequestID = strings.Repeat("r", 1000)
	r.Clean()
	enc, err := domain.Encode(e, domain.Salt{}, domain.Salt{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(enc.AppendRecord(nil)); n > domain.MaxRecordBytes {
		t.Errorf("record of %d bytes", n)
	}
}
