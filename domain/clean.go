package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of strings that others made, in bytes.
const (
	MaxName      = 256  // end user, session, client, model, names
	MaxTagKey    = 64   // a tag's key
	MaxTags      = 10   // tags of a call
	MaxErrorText = 1024 // an error's text
	MaxRequestID = 128  // a provider's id of a call
)

// CleanText makes s fit for an event: valid UTF-8 without NUL, at most limit
// bytes, cut at a character's edge.
func CleanText(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// isClean reports whether CleanText would leave s as it is.
func isClean(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// Clean makes every string that a caller or provider made fit for an event. Of
// too many tags the first by name stay.
func (r *RequestCompleted) Clean() {
	r.Erasable.Clean()
	for i := range r.Private.Attempts {
		a := &r.Private.Attempts[i]
		a.RequestID = CleanText(a.RequestID, MaxRequestID)
	}
	r.Tier, r.Private.Region = CleanText(r.Tier, MaxTagKey), CleanText(r.Private.Region, MaxTagKey)
	r.cleanRawUsage()
}

// Clean makes every string fit for an event, as RequestCompleted's does.
func (e *RequestErasable) Clean() {
	e.EndUser, e.Session, e.Client = CleanText(e.EndUser, MaxName), CleanText(e.Session, MaxName), CleanText(e.Client, MaxName)
	e.Trace, e.ServedModel = CleanText(e.Trace, MaxName), CleanText(e.ServedModel, MaxName)
	e.ErrorText = CleanText(e.ErrorText, MaxErrorText)
	e.Tags = cleanTags(e.Tags)
}

// cleanRawUsage leaves compact, valid JSON within the limit, or nothing.
func (r *RequestCompleted) cleanRawUsage() {
	if len(r.Private.RawUsage) == 0 {
		r.Private.RawUsage = nil
		return
	}
	if compact, ok := compactPlain(r.Private.RawUsage); ok && len(compact) <= MaxRawUsage {
		r.Private.RawUsage = compact
		return
	}
	var buf bytes.Buffer
	if json.Compact(&buf, r.Private.RawUsage) == nil && buf.Len() <= MaxRawUsage && utf8.Valid(buf.Bytes()) {
		r.Private.RawUsage = buf.Bytes()
		return
	}
	r.Private.RawUsage = nil
	if !slices.Contains(r.Private.Flags, FlagRawDropped) {
		r.Private.Flags = append(r.Private.Flags, FlagRawDropped)
	}
}

func cleanTags(tags map[string]string) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	keys := make([]string, 0, len(tags))
	for k := range tags {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	clean := make(map[string]string, len(tags))
	for _, k := range keys {
		if len(clean) == MaxTags {
			break
		}
		clean[CleanText(k, MaxTagKey)] = CleanText(tags[k], MaxName)
	}
	return clean
}

var errUnclean = errors.New("a string is too long, not UTF-8, or has a NUL: clean it first")

// checkClean refuses what Clean would change.
func (r *RequestCompleted) checkClean() error {
	e := &r.Erasable
	ok := isClean(e.EndUser, MaxName) && isClean(e.Session, MaxName) && isClean(e.Client, MaxName) &&
		isClean(e.Trace, MaxName) && isClean(e.ServedModel, MaxName) && isClean(e.ErrorText, MaxErrorText) &&
		len(e.Tags) <= MaxTags && isClean(r.Tier, MaxTagKey) && isClean(r.Private.Region, MaxTagKey) &&
		len(r.Private.RawUsage) <= MaxRawUsage && (len(r.Private.RawUsage) == 0 || isPlainJSON(r.Private.RawUsage) || json.Valid(r.Private.RawUsage))
	for k, v := range e.Tags {
		ok = ok && isClean(k, MaxTagKey) && isClean(v, MaxName)
	}
	for i := range r.Private.Attempts {
		ok = ok && isClean(r.Private.Attempts[i].RequestID, MaxRequestID)
	}
	if !ok {
		return errUnclean
	}
	return nil
}
