package ledger_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

func TestAppendKeepsEveryEventAsItWas(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	call := newCall()
	call.Erasable.Tags = map[string]string{"team": "a\"b", "x": "ü"}
	bare := &domain.RequestCompleted{
		RequestPublic: domain.RequestPublic{Charge: domain.Price{Currency: domain.XTS}},
		Private:       domain.RequestPrivate{Cost: domain.Price{Currency: domain.XTS}},
	}
	events := []domain.Event{
		{Body: call}, {Body: bare},
		{Author: "operator:ada", Body: &domain.OrgCreated{Org: newID[domain.OrgID](), Erasable: domain.Named{Name: "Acme"}}},
		{Author: "system:x", Body: &domain.KeyIssued{Org: newID[domain.OrgID](), Key: newID[domain.KeyID](), Private: domain.KeySecret{Hash: "ab"}}},
		{Body: &domain.PricesPublished{Number: 1, Private: &domain.PriceBook{Source: strings.Repeat("prices ", 20_000)}}},
	}
	var encoded []domain.Encoded
	for i := range events {
		events[i].ID, events[i].At = newID[domain.EventID](), now()
		encoded = append(encoded, encode(t, events[i]))
	}
	res := mustAppend(t, l, encoded...)
	if res.Appended != len(events) || res.Size != int64(len(events)) {
		t.Fatalf("got %+v", res)
	}
	checkInvariants(t, pool, 0)

	entries, err := ledger.Read(t.Context(), pool, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if diff := cmp.Diff(events[i], e.Event, decimals); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", i, diff)
		}
		if e.Index != int64(i) || !e.RecordedAt.Equal(res.RecordedAt) || !bytes.Equal(e.Canonical, encoded[i].Canonical()) {
			t.Errorf("entry %d: %d %v, canonical %q", i, e.Index, e.RecordedAt, e.Canonical)
		}
	}
	control, err := ledger.ReadControl(t.Context(), pool, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(control) != 3 || control[0].Index != 2 {
		t.Errorf("got %d control entries", len(control))
	}
	got, err := ledger.Get(t.Context(), pool, encoded[1].ID)
	if err != nil || got.Index != 1 {
		t.Errorf("Get: %d, %v", got.Index, err)
	}
	if _, err := ledger.Get(t.Context(), pool, newID[domain.EventID]()); err == nil {
		t.Error("Get of an unknown id: no error")
	}
}

func TestColumnsSayWhatTheEventSays(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	call := newCall()
	call.User, call.Service, call.Request, call.Error, call.Estimator = newID[domain.UserID](), newID[domain.ServiceID](), newID[domain.EventID](), domain.CodeUpstream, "e-1"
	call.Private.Region, call.Private.Flags, call.Held = "eu", []string{"a", "b,\"c"}, dec("123456789012345678901234567890.123456789012345678")
	for m := range call.Usage {
		call.Usage[m] = int64(m) + 1
	}
	call.Charge.Amount = dec("1000000")
	call.Erasable = domain.RequestErasable{EndUser: "u", Session: "s", Client: "c", Trace: "t", Tags: map[string]string{"k": "v"}, ServedModel: "m", ErrorText: "e"}
	enc := encode(t, domain.Event{Author: "key:1", Body: call})
	mustAppend(t, ledger.New(pool), enc)
	at := func(when time.Time) string { return when.Format("2006-01-02T15:04:05.999999+00:00") }
	want := map[string]string{
		"index": "0", "id": enc.ID.String(), "kind": "RequestCompleted", "v": "1", "control": "false", "author": "key:1",
		"request_id": call.Request.String(), "supersedes": "", "org_id": call.Org.String(), "project_id": call.Project.String(), "key_id": call.Key.String(),
		"user_id": call.User.String(), "service_id": call.Service.String(), "dialect": "openai", "endpoint": "chat.completions", "stream": "true",
		"asked_model": "gpt-4o", "model": "gpt-4o-2024-08-06", "tier": "default", "first_byte_at": at(call.FirstByte), "first_token_at": at(call.FirstToken), "ended_at": at(call.Ended),
		"outcome": "completed", "status": "200", "error": "upstream_error", "provenance": "reported", "estimator": "e-1",
		"charge": "1000000", "charge_currency": "USD", "charge_price": call.Charge.Version.String(), "held": "123456789012345678901234567890.123456789012345678",
		"cost": "0.005875", "cost_currency": "USD", "cost_price": call.Charge.Version.String(), "provider": "openai", "host": "api.openai.com", "region": "eu",
		"credential_id": call.Private.Credential.String(), "provider_request_id": call.Private.Attempts[0].RequestID, "attempts": "1", "route_version": "r1", "config_version": "c1", "replica": "a",
		"spool_id": call.Private.Spool.String(), "spool_epoch": "3", "flags": `["a", "b,\"c"]`,
		"input": "1", "input_audio": "2", "input_image": "3", "cache_read": "4", "cache_write_5m": "5", "cache_write_1h": "6",
		"output": "7", "reasoning": "8", "output_audio": "9", "output_image": "10", "web_search": "11", "file_search": "12",
		"private_salt": "\\x" + hex(enc.PrivateSalt[:]), "private": "\\x" + hex(enc.Private), "canonical": "\\x" + hex(enc.Canonical()),
	}
	checkRow(t, pool, "ledger.events", want, "recorded_at", "at", "leaf")
	checkRow(t, pool, "ledger.erasable", map[string]string{
		"index": "0", "id": enc.ID.String(), "salt": "\\x" + hex(enc.ErasableSalt[:]), "data": "\\x" + hex(enc.Erasable),
		"end_user": "u", "session": "s", "client": "c", "trace": "t", "tags": `{"k": "v"}`, "served_model": "m", "error_text": "e", "name": "",
	})
}

func TestAppendingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	events := calls(t, 20)
	mustAppend(t, l, events[:7]...)
	for range 10 {
		rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		mustAppend(t, l, append(events[:len(events):len(events)], events[:3]...)...)
		checkInvariants(t, pool, 0)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != len(events) {
		t.Errorf("got %d events, want %d", n, len(events))
	}
	checkNone(t, pool, "rejected", `SELECT count(*) FROM ledger.rejected`)
}

func TestSameIDWithOtherBytesIsRejected(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	first := encode(t, domain.Event{Body: newCall()})
	mustAppend(t, l, first)
	other := encode(t, domain.Event{ID: first.ID, Body: newCall()})
	for range 3 {
		res := mustAppend(t, l, calls(t, 1)[0], other, first, first)
		if res.Appended != 1 || len(res.Rejected) != 1 || res.Duplicates != 2 {
			t.Fatalf("got %+v", res)
		}
	}
	checkInvariants(t, pool, 0)
	got, err := ledger.Get(t.Context(), pool, first.ID)
	if err != nil || !bytes.Equal(got.Canonical, first.Canonical()) {
		t.Errorf("the first event was touched: %v", err)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.rejected`); n != 1 {
		t.Errorf("the record is kept %d times, want once", n)
	}
}

func TestRefusedRecordsKeepNoOtherOut(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, "manti_writer")
	l := ledger.New(pool)
	// What this constraint refuses, the encoder lets pass.
	owner := database.Pool(t, "")
	if _, err := owner.Exec(t.Context(), `ALTER TABLE ledger.events ADD CONSTRAINT no_cursed CHECK (model <> 'cursed')`); err != nil {
		t.Fatal(err)
	}
	events := calls(t, 20)
	for _, i := range []int{3, 4, 19} {
		call := newCall()
		call.Model = "cursed"
		events[i] = encode(t, domain.Event{Body: call})
	}
	res := mustAppend(t, l, events...)
	if res.Appended != 17 || len(res.Rejected) != 3 {
		t.Fatalf("got %+v", res)
	}
	checkInvariants(t, pool, 0)
	for _, i := range []int{3, 4, 19} {
		var reason, state string
		var record []byte
		err := pool.QueryRow(t.Context(), `SELECT reason, sqlstate, record FROM ledger.rejected WHERE id = $1::text::uuid`, events[i].ID.String()).Scan(&reason, &state, &record)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(reason, "no_cursed") || state != "23514" || !bytes.Equal(record, events[i].AppendRecord(nil)) {
			t.Errorf("event %d: %q %s", i, reason, state)
		}
	}
}

// Each event's place is told, however it came to be in the ledger.
func TestAppendTellsEveryPlace(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	pool := database.Pool(t, "manti_writer")
	l := ledger.New(pool)
	if _, err := database.Pool(t, "").Exec(t.Context(), `ALTER TABLE ledger.events ADD CONSTRAINT no_cursed CHECK (model <> 'cursed')`); err != nil {
		t.Fatal(err)
	}
	cursed := newCall()
	cursed.Model = "cursed"
	unreadable := calls(t, 1)[0]
	unreadable.Public = unreadable.Public[:100]
	nothingThere := encode(t, domain.Event{Body: superseding(newID[domain.EventID]())})
	a := calls(t, 12)
	other := encode(t, domain.Event{ID: a[1].ID, Body: newCall()})
	correction := encode(t, domain.Event{Body: superseding(a[2].ID)})

	first := mustAppend(t, l, a[:3]...)
	tests := []struct {
		name   string
		events []domain.Encoded
		there  []bool
	}{
		{"all new", a[3:5], []bool{true, true}},
		{"all there", []domain.Encoded{a[2], a[0]}, []bool{true, true}},
		{"none", nil, nil},
		{"twice, and in another round", []domain.Encoded{a[5], a[5], a[0], a[5], other}, []bool{true, true, true, true, false}},
		{"cut in halves", []domain.Encoded{a[6], encode(t, domain.Event{Body: cursed}), a[7], a[1], unreadable, a[8]}, []bool{true, false, true, true, false, true}},
		{"superseding", []domain.Encoded{nothingThere, correction, a[9], correction}, []bool{false, true, true, true}},
		{"all of them again", append(slices.Clone(a), correction), append(slices.Repeat([]bool{true}, 10), true, true, true)},
	}
	for _, tt := range tests {
		res := mustAppend(t, l, tt.events...)
		if len(res.Places) != len(tt.events) {
			t.Fatalf("%s: %d places for %d events", tt.name, len(res.Places), len(tt.events))
		}
		for i, place := range res.Places {
			if !tt.there[i] {
				if place != (ledger.Place{Index: ledger.NoIndex}) {
					t.Errorf("%s: event %d was rejected, place %+v", tt.name, i, place)
				}
				continue
			}
			entry, err := ledger.Get(t.Context(), pool, tt.events[i].ID)
			if want := (ledger.Place{Index: entry.Index, RecordedAt: entry.RecordedAt}); err != nil || place != want {
				t.Errorf("%s: event %d: place %+v, want %+v, %v", tt.name, i, place, want, err)
			}
		}
	}
	again := mustAppend(t, l, a[:3]...)
	if diff := cmp.Diff(first.Places, again.Places); diff != "" {
		t.Errorf("appended again, places (-first +again):\n%s", diff)
	}
	checkInvariants(t, pool, 0)
}

func TestUnreadableEventsAreRejected(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		break_ func(*domain.Encoded)
		reason string
	}{
		{"another id", func(e *domain.Encoded) { e.ID[3]++ }, "not that of the event"},
		{"another kind", func(e *domain.Encoded) { e.Kind = domain.KindOrgCreated }, "not that of the event"},
		{"a kind of the future", func(e *domain.Encoded) {
			e.Kind, e.Public = "Future", bytes.Replace(e.Public, []byte("RequestCompleted"), []byte("Future"), 1)
		}, "newer manti"},
		{"an unknown field", func(e *domain.Encoded) { e.Private = append([]byte(`{"surprise":1,`), e.Private[1:]...) }, "surprise"},
		{"half a record", func(e *domain.Encoded) { e.Public = e.Public[:100] }, "not an event"},
		{"a status of six digits", func(e *domain.Encoded) {
			e.Public = bytes.Replace(e.Public, []byte(`"status":200`), []byte(`"status":200000`), 1)
		}, "status"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.New(t)
			events := calls(t, 3)
			test.break_(&events[1])
			res := mustAppend(t, ledger.New(pool), events...)
			if res.Appended != 2 || len(res.Rejected) != 1 || !strings.Contains(res.Rejected[0].Reason, test.reason) {
				t.Errorf("got %+v", res)
			}
			checkInvariants(t, pool, 0)
		})
	}
}

func TestTextsThatPostgresCannotHold(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	call := newCall()
	call.AskedModel, call.Private.Flags = "a\x00b", []string{"\x00"}
	enc := encode(t, domain.Event{Body: call})
	// Only Encode refuses these; a record may come from elsewhere.
	enc.Erasable = []byte(`{"end_user":"x\u0000","tags":{"\u0000k":"\u0000v"}}`)
	if res := mustAppend(t, ledger.New(pool), enc); res.Appended != 1 {
		t.Fatalf("got %+v", res)
	}
	if n := count(t, pool, `SELECT count(*) FROM ledger.events JOIN ledger.erasable USING (index) WHERE asked_model = E'a\uFFFDb' AND flags = ARRAY[E'\uFFFD'] AND end_user = E'x\uFFFD' AND tags ? E'\uFFFDk'`); n != 1 {
		t.Error("the columns aren't as expected")
	}
}

func TestAnEventIsSupersededOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	first := calls(t, 1)[0]
	mustAppend(t, l, first)
	second := encode(t, domain.Event{Body: superseding(first.ID)})
	third := encode(t, domain.Event{Body: superseding(second.ID)})
	twice, nothing := encode(t, domain.Event{Body: superseding(first.ID)}), encode(t, domain.Event{Body: superseding(newID[domain.EventID]())})
	for range 2 {
		res := mustAppend(t, l, second, twice, nothing, third)
		if len(res.Rejected) != 2 || res.Appended+res.Duplicates != 2 {
			t.Fatalf("got %+v", res)
		}
		if r := res.Rejected; !strings.Contains(r[0].Reason+r[1].Reason, "has superseded") || !strings.Contains(r[0].Reason+r[1].Reason, "not in the ledger") {
			t.Errorf("reasons: %+v", r)
		}
		checkInvariants(t, pool, 0)
	}
}

func TestConcurrentAppendersLeaveNoGap(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	shared := calls(t, 5)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 4 {
				if _, err := l.Append(t.Context(), append(calls(t, 5), shared...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	checkInvariants(t, pool, 0)
	if n := count(t, pool, `SELECT count(*) FROM ledger.events`); n != 16*4*5+5 {
		t.Errorf("got %d events", n)
	}
}

func TestRecordedAtNeverFalls(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	// As if the clock had been a day ahead when the last batch came.
	ahead := now().Add(24 * time.Hour)
	if _, err := pool.Exec(t.Context(), `UPDATE ledger.head SET recorded_at = $1`, ahead); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		res := mustAppend(t, l, calls(t, 2)...)
		if want := ahead.Add(time.Duration(i+1) * time.Microsecond); !res.RecordedAt.Equal(want) {
			t.Errorf("got %v, want %v", res.RecordedAt, want)
		}
		checkInvariants(t, pool, 0)
	}
}

func TestFrozenLedgerTakesNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	mustAppend(t, l, calls(t, 1)...)
	if _, err := pool.Exec(t.Context(), `UPDATE ledger.head SET frozen = true, reason = 'leaf 7 differs'`); err != nil {
		t.Fatal(err)
	}
	_, err := l.Append(t.Context(), calls(t, 1))
	wantIs(t, err, ledger.ErrFrozen)
	wantContains(t, err, "leaf 7 differs")
	checkInvariants(t, pool, 0)
}

func TestAmountsTravelDigitByDigit(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	l := ledger.New(pool)
	for _, amount := range []string{"0", "0.000000000000000001", "99999.999999999999999999", "10000", "0.1", "123456789.5"} {
		call := newCall()
		call.Charge.Amount = dec(amount)
		enc := encode(t, domain.Event{Body: call})
		mustAppend(t, l, enc)
		var got decimal.Decimal
		if err := pool.QueryRow(t.Context(), `SELECT charge FROM ledger.events WHERE id = $1::text::uuid`, enc.ID.String()).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got.String() != amount {
			t.Errorf("got %s, want %s", got, amount)
		}
	}
}
