package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/user"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"manti/domain"
	"manti/projections"
	"manti/proxy/auth"
)

// operator is who uses the command line, as events name it.
func operator() string {
	if u, err := user.Current(); err == nil {
		return "operator:" + domain.CleanText(u.Username, domain.MaxName)
	}
	return "operator:unknown"
}

// keyCreate makes a key and shows it, once.
func keyCreate(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	name := flags.String("name", "", "what the key is for")
	expires := flags.String("expires", "", "when it stops working: 2027-01-31, or a time in RFC 3339")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	until, err := parseWhen(*expires)
	if err != nil {
		return usageError{"--expires: " + err.Error()}
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		if err := d.bootstrap(ctx); err != nil { // the first key may come before the first start
			return err
		}
		key := newKey()
		id, err := issueKey(ctx, d, key, *name, operator(), until)
		if err != nil {
			return err
		}
		fmt.Fprintf(inv.io.err, "Key %s. It is shown this once; manti keeps only a hash of it.\n", id)
		_, err = fmt.Fprintln(inv.io.out, key.Reveal())
		return err
	})
}

// issueKey records a key of the default project.
func issueKey(ctx context.Context, d database, key domain.Secret, name, author string, expires time.Time) (domain.KeyID, error) {
	pepper := pepperOf(d.secret)
	hash := pepper.Hash(key)
	at := eventTime()
	id := newID[domain.KeyID](at)
	issue := projections.IssueKey{
		Event: newID[domain.EventID](at), At: at, Author: author, Key: id,
		Org: projections.DefaultOrg(), Project: projections.DefaultProject(),
		Secret: domain.KeySecret{Hash: hex.EncodeToString(hash[:]), Hint: auth.Hint(key)},
		Name:   name, Expires: expires,
	}
	return id, d.command(ctx, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
		return projections.DecideIssue(ctx, tx, issue)
	}, projections.Keys(), projections.Orgs())
}

// keyList lists keys.
func keyList(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	all := flags.Bool("all", false, "revoked and expired ones too")
	asJSON := flags.Bool("json", false, "print JSON, a key a line")
	data := dataFlag(flags)
	if err := parseFlags(flags, inv); err != nil {
		return err
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		if err := d.catchUp(ctx, projections.Keys()); err != nil {
			return err
		}
		keys, err := projections.ListKeys(ctx, d.pool, domain.OrgID{})
		if err != nil {
			return err
		}
		return printKeys(inv, keys, keyListing{all: *all, asJSON: *asJSON, at: time.Now()})
	})
}

// keyListing says which keys are printed, and how.
type keyListing struct {
	all, asJSON bool
	at          time.Time // as of when
}

// printKeys prints a table, or JSON.
func printKeys(inv invocation, keys []projections.KeyRow, l keyListing) error {
	t := tabwriter.NewWriter(inv.io.out, 0, 0, 2, ' ', 0)
	if !l.asJSON {
		fmt.Fprintln(t, "ID\tNAME\tENDS WITH\tSTATE\tISSUED\tBY")
	}
	shut := false
	for _, k := range keys {
		state := keyState(k, l.at)
		shut = shut || k.Shut
		switch {
		case (state == "revoked" || state == "expired") && !l.all:
		case l.asJSON:
			if err := json.NewEncoder(inv.io.out).Encode(keyJSON{k.ID, k.Name, k.Hint, state, k.Issued, k.IssuedBy, k.Expires, k.Revoked}); err != nil {
				return err
			}
		default:
			fmt.Fprintf(t, "%s\t%s\t…%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Hint, stateText(k, state), k.Issued.Format(time.DateTime), k.IssuedBy)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if shut {
		warnIncomplete(inv, projections.Keys().Name())
	}
	return nil
}

// stateText is a state in a table.
func stateText(k projections.KeyRow, state string) string {
	if k.Shut {
		return state + "*"
	}
	return state
}

type keyJSON struct {
	ID       domain.KeyID `json:"id"`
	Name     string       `json:"name,omitempty"`
	Hint     string       `json:"ends_with,omitempty"`
	State    string       `json:"state"`
	Issued   time.Time    `json:"issued"`
	IssuedBy string       `json:"issued_by"`
	Expires  time.Time    `json:"expires,omitzero"`
	Revoked  time.Time    `json:"revoked,omitzero"`
}

func keyState(k projections.KeyRow, now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case k.Shut: // it may be revoked: it may not call
		return "shut"
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return "expired"
	}
	return "active"
}

// keyRevoke ends keys.
func keyRevoke(ctx context.Context, inv invocation) error {
	flags := newFlags(inv)
	data := dataFlag(flags)
	if err := parse(flags, inv); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return usageError{"manti key revoke: which? `manti key list` shows the ids"}
	}
	var ids []domain.KeyID
	for _, arg := range flags.Args() {
		id, err := domain.ParseID[domain.KeyID](arg)
		if err != nil {
			return usageError{fmt.Sprintf("%q is no key's id; `manti key list` shows them", arg)}
		}
		ids = append(ids, id)
	}
	return withDatabase(ctx, inv, *data, func(d database) error {
		for _, id := range ids {
			at := eventTime()
			revoke := projections.RevokeKey{Event: newID[domain.EventID](at), At: at, Author: operator(), Key: id}
			err := d.command(ctx, func(ctx context.Context, tx pgx.Tx, _ time.Time) ([]domain.Event, error) {
				return projections.DecideRevoke(ctx, tx, revoke)
			}, projections.Keys())
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			fmt.Fprintln(inv.io.out, id, "revoked")
		}
		return nil
	})
}

// parseWhen reads a day (in UTC) or a time; "" is none.
func parseWhen(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a date like 2027-01-31 nor a time like 2027-01-31T12:00:00Z", s)
}

// parseRange reads --from and --to; either may be missing.
func parseRange(from, to string) (begin, end time.Time, err error) {
	if begin, err = parseWhen(from); err != nil {
		return begin, end, usageError{"--from: " + err.Error()}
	}
	if end, err = parseWhen(to); err != nil {
		return begin, end, usageError{"--to: " + err.Error()}
	}
	if !end.IsZero() && !begin.Before(end) {
		return begin, end, usageError{fmt.Sprintf("--to %s is not after --from %s: it is where the range ends, and not part of it", to, from)}
	}
	return begin, end, nil
}
