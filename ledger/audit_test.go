package ledger_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manti/db"
	"manti/db/dbtest"
	"manti/domain"
	"manti/ledger"
)

// fillPartitions puts a few events into each of n partitions and closes all but
// the last. It returns when the events of each were recorded.
func fillPartitions(t *testing.T, database *dbtest.Database, n int64) (recorded []time.Time) {
	t.Helper()
	l := ledger.New(database.Pool(t, db.RoleWriter))
	for no := range n {
		if no > 0 { // the first of the batch completes the partition before
			beginAt(t, database, no-1, 1)
		}
		mustAppend(t, l, calls(t, 1)...)
		if no > 0 {
			if err := l.ClosePartition(t.Context(), no-1); err != nil {
				t.Fatal(err)
			}
		}
		res := mustAppend(t, l, calls(t, 3)...)
		recorded = append(recorded, res.RecordedAt)
	}
	return recorded
}

var eventsTable = regexp.MustCompile(`\bevents_(\d{5})\b`)

// scanned are the partitions of events that a query's plan reads.
func scanned(t *testing.T, pool *pgxpool.Pool, query string, args ...any) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), "EXPLAIN "+query, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var found []string
	for _, m := range eventsTable.FindAllString(strings.Join(plan, "\n"), -1) {
		if !slices.Contains(found, m) {
			found = append(found, m)
		}
	}
	slices.Sort(found)
	return found
}

// A range of time touches only the partitions concerned, through the views.
func TestAuditViewsPrunePartitionsByTime(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	recorded := fillPartitions(t, database, 4)
	auditor := database.Pool(t, db.RoleAuditor)
	// The last partition is open, so it can't be ruled out by time.
	tests := []struct {
		from, to time.Time
		want     []string
	}{
		{recorded[1], recorded[1], []string{"events_00001", "events_00003"}},
		{recorded[0], recorded[1], []string{"events_00000", "events_00001", "events_00003"}},
		{recorded[2].Add(time.Hour), recorded[2].Add(2 * time.Hour), []string{"events_00003"}},
	}
	for _, view := range []string{"calls", "call_history", "control_events", "key_history", "price_history", "erasures", "orgs", "projects"} {
		for i, test := range tests {
			t.Run(fmt.Sprint(view, i), func(t *testing.T) {
				query := `SELECT * FROM audit.` + view + ` WHERE recorded_at BETWEEN $1 AND $2`
				if diff := cmp.Diff(test.want, scanned(t, auditor, query, test.from, test.to)); diff != "" {
					t.Errorf("partitions read (-want +got):\n%s", diff)
				}
			})
		}
	}
	if all := scanned(t, auditor, `SELECT * FROM audit.calls`); len(all) != 4 {
		t.Errorf("without a range, %v are read", all)
	}
	closed := count(t, auditor, `SELECT count(*) FROM audit.partitions WHERE closed AND bounds LIKE '%recorded_at%'`)
	if closed != 3 {
		t.Errorf("%d partitions are shown as closed", closed)
	}
}

// auditViews are all views of the schema.
func auditViews(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT viewname::text FROM pg_views WHERE schemaname = 'audit' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	views, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return views
}

func TestAuditViewsAreDescribedAndReadable(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	auditor, reader := database.Pool(t, db.RoleAuditor), database.Pool(t, db.RoleReader)
	checkNone(t, auditor, "views without a comment", `SELECT count(*) FROM pg_class WHERE relnamespace = 'audit'::regnamespace AND relkind = 'v' AND obj_description(oid) IS NULL`)
	checkNone(t, auditor, "columns without a comment", `SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'v' AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL`)
	private := []string{"call_history", "corrections", "key_history", "keys", "price_history", "rates", "rejected"}
	for _, view := range auditViews(t, auditor) {
		if state := try(t, auditor, `SELECT * FROM audit.`+view, false); state != "" {
			t.Errorf("the auditor can't read audit.%s: %s", view, state)
		}
		state := try(t, reader, `SELECT * FROM audit.`+view, false)
		if refused := state == stateNoPrivilege; refused != slices.Contains(private, view) {
			t.Errorf("the reader and audit.%s: %q", view, state)
		}
		if state := try(t, auditor, `DELETE FROM audit.`+view, false); state == "" {
			t.Errorf("the auditor can delete from audit.%s", view)
		}
	}
}

// The views of version 2 keep their columns, in this order, for ever.
func TestAuditViewsOnlyGrow(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.Options{}).Pool(t, db.RoleAuditor)
	for view, want := range map[string]string{
		"calls": "index recorded_at at request_id event_id corrected org_id project_id key_id user_id service_id dialect endpoint stream asked_model model provider host region tier " +
			"provider_request_id attempts first_byte_at first_token_at ended_at outcome status error provenance estimator input input_audio input_image cache_read cache_write_5m " +
			"cache_write_1h output reasoning output_audio output_image web_search file_search prompt_tokens completion_tokens cost cost_currency cost_price charge charge_currency " +
			"charge_price held route_version config_version replica spool_id spool_epoch flags",
		"call_history": "index recorded_at at request_id event_id kind supersedes superseded_by superseded_at_index stands basis reason author org_id project_id key_id model provider " +
			"outcome status provenance prompt_tokens completion_tokens cost cost_currency cost_price charge charge_currency charge_price held",
		"corrections": "index recorded_at at request_id event_id supersedes superseded_index basis reason author org_id project_id key_id model outcome old_charge new_charge " +
			"charge_difference charge_currency old_cost new_cost cost_difference cost_currency old_charge_price new_charge_price stands",
		"spend_by_day":   "day org_id project_id key_id model provider calls unknown corrected prompt_tokens completion_tokens cost cost_currency charge charge_currency held",
		"control_events": "index recorded_at at event_id kind author org_id project_id key_id user_id body",
		"orgs":           "org_id name created_at created_by index recorded_at",
		"projects":       "project_id org_id name created_at created_by index recorded_at",
		"key_history":    "index recorded_at at event_id key_id what author org_id project_id user_id service_id expires_at",
		"keys":           "key_id name hint org_id project_id user_id service_id issued_at issued_by expires_at revoked_at revoked_by ended_at index recorded_at",
		"price_history":  "index recorded_at published_at price number digest author builtin models",
		"rates":          "price provider model list valid_from valid_to tier speed region over up_to meter rate own currency index recorded_at",
		"checkpoints":    "size made_at origin root note covers_to lag",
		"ledger":         "size recorded_at frozen reason sealed unsealed sealed_at",
		"rejected":       "digest received_at event_id spool_id spool_epoch reason sqlstate bytes answered_by answered_at answered_author answer",
		"erasures":       "index recorded_at at event_id author user_id parts through indexes",
		"spools":         "spool_id replica epoch last_seen unshipped oldest_unshipped drained_index lost at_rest",
		"projections":    "name version index behind updated_at digest parked checked_at checked_index check_ok check_difference",
		"partitions":     "name first_index last_index closed bounds events_estimate bytes",
		"version":        "version",
	} {
		var got string
		err := pool.QueryRow(t.Context(), `SELECT COALESCE(string_agg(attname, ' ' ORDER BY attnum), '') FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0`, "audit."+view).Scan(&got)
		if err != nil {
			t.Fatal(err)
		}
		if got != want && !strings.HasPrefix(got, want+" ") {
			t.Errorf("audit.%s doesn't begin with the columns that it had:\ngot  %s\nwant %s", view, got, want)
		}
	}
}

// What SQL says of a call's rates is what the program charged.
func TestAuditRatesArePrices(t *testing.T) {
	t.Parallel()
	database := dbtest.Open(t, dbtest.Options{})
	l := ledger.New(database.Pool(t, db.RoleWriter))
	list := func(input string) domain.PriceList {
		return domain.PriceList{Currency: domain.USD, Tiers: []domain.RateTier{
			{Rates: domain.Rates{"input": dec(input), "output": dec("8"), "cache_write_5m": dec("1.25")}},
			{Over: 1000, Rates: domain.Rates{"input": dec("7"), "output": dec("9")}},
		}, Variants: []domain.RateVariant{{Tier: "batch", Tiers: []domain.RateTier{{Rates: domain.Rates{"input": dec("0.5")}}}}}}
	}
	charge := list("3")
	later := newCallTime(t).Add(time.Hour)
	card := domain.ModelCard{Provider: "openai", Name: "m", Kind: domain.ChatModel, Prices: []domain.ModelPrice{
		{Cost: list("2"), Charge: &charge}, {From: later, Cost: list("20")},
	}}
	version := domain.NewID[domain.EventID](newCallTime(t), [10]byte{77})
	events := []domain.Encoded{encode(t, domain.Event{ID: version, At: newCallTime(t), Author: "operator:x", Body: &domain.PricesPublished{Number: 1, Digest: "d", Private: &domain.PriceBook{Models: []domain.ModelCard{card}}}})}
	for i, usage := range []domain.Usage{
		{domain.InputTokens: 1000, domain.OutputTokens: 10}, {domain.InputTokens: 1001, domain.ReasoningTokens: 10},
		{domain.CacheReadTokens: 5, domain.CacheWrite1hTokens: 6, domain.CacheWrite5mTokens: 7, domain.OutputAudioTokens: 8}, {},
	} {
		for j, at := range []time.Time{newCallTime(t), later} {
			body := newCall()
			bill := domain.BillFor(&card, &card, at, usage, domain.Served{})
			body.Model, body.Private.Provider, body.Usage = "m", "openai", domain.Metered(usage)
			body.Charge, body.Private.Cost = bill.Charge, bill.Cost
			body.Charge.Version, body.Private.Cost.Version = version, version
			events = append(events, encode(t, domain.Event{ID: domain.NewID[domain.EventID](at, [10]byte{byte(i), byte(j)}), At: at, Body: body}))
		}
	}
	mustAppend(t, l, events...)
	const recompute = `WITH r AS MATERIALIZED (SELECT * FROM audit.rates WHERE list = 'charge' AND tier = '' AND speed = '' AND region = '')
		SELECT count(*) FROM audit.calls c
		CROSS JOIN LATERAL (SELECT COALESCE(sum(u.quantity * r.rate), 0) / 1000000 AS amount FROM (VALUES ('input', c.input), ('input_audio', c.input_audio), ('input_image', c.input_image),
			('cache_read', c.cache_read), ('cache_write_5m', c.cache_write_5m), ('cache_write_1h', c.cache_write_1h), ('output', c.output), ('reasoning', c.reasoning),
			('output_audio', c.output_audio), ('output_image', c.output_image), ('web_search', c.web_search), ('file_search', c.file_search)) u(meter, quantity)
			JOIN r ON r.meter = u.meter AND r.price = c.charge_price AND r.provider = c.provider AND r.model = c.model
				AND c.at >= r.valid_from AND c.at < r.valid_to AND (c.prompt_tokens > r.over OR r.over = 0) AND (r.up_to IS NULL OR c.prompt_tokens <= r.up_to)) x
		WHERE x.amount = c.charge`
	if n := count(t, database.Pool(t, db.RoleAuditor), recompute); n != 8 {
		t.Errorf("%d of 8 charges are what the rates say", n)
	}
}

// newCallTime is a time for events of this test.
func newCallTime(t *testing.T) time.Time {
	t.Helper()
	return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
}
