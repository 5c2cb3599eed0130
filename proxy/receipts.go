package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"manti/domain"
)

// Receipts proves what stands in the ledger. Its methods may be called
// concurrently. An error that is a *domain.Error is shown to the caller.
//
// Receipt proves an event about a call. It must ask mayRead about the call that
// it found before anything is said of it, and answer as if there were none if
// not. Checkpoint is the last signed checkpoint and Tile a tile of its tree, by
// its path behind "tile/" (https://c2sp.org/tlog-tiles). Keys are the verifier
// keys that are known here, the newest first.
type Receipts interface {
	Receipt(ctx context.Context, id domain.EventID, mayRead func(CallOwner) bool) (Receipt, error)
	Checkpoint(ctx context.Context) ([]byte, error)
	Tile(ctx context.Context, path string) ([]byte, error)
	Keys() []string
}

// CallOwner is who made a call.
type CallOwner struct {
	Org     domain.OrgID
	Project domain.ProjectID
	Key     domain.KeyID
}

// Receipt is the proof that an event is in the ledger.
type Receipt struct {
	// Text is a https://c2sp.org/tlog-proof.
	Text []byte
	// SupersededBy is the event that replaced this one; zero if none did.
	SupersededBy domain.EventID
}

// receiptTimeout bounds a proof, which takes a millisecond: its caller can ask
// again.
const receiptTimeout = 5 * time.Second

// textPlain is what c2sp.org/tlog-tiles wants checkpoints to be.
const textPlain = "text/plain; charset=utf-8"

// receipts adds the routes of what proves the ledger, to whoever has a key: the
// sizes that it shows are numbers of calls.
func (g *Gateway) receipts(r chi.Router) {
	if g.cfg.Receipts == nil {
		return
	}
	r.Get("/v1/receipts/{id}", g.receipt)
	r.Get("/v1/ledger/checkpoint", g.evidence(textPlain, func(ctx context.Context, _ *http.Request) ([]byte, error) {
		return g.cfg.Receipts.Checkpoint(ctx)
	}))
	r.Get("/v1/ledger/tile/*", g.evidence("application/octet-stream", func(ctx context.Context, r *http.Request) ([]byte, error) {
		return g.cfg.Receipts.Tile(ctx, chi.URLParam(r, "*"))
	}))
	r.Get("/v1/ledger/key", g.evidence(textPlain, func(context.Context, *http.Request) ([]byte, error) {
		var text []byte
		for _, key := range g.cfg.Receipts.Keys() {
			text = append(append(text, key...), '\n')
		}
		if text == nil {
			return nil, &domain.Error{Code: domain.CodeNotFound, Message: "This server doesn't know the ledger's verifier key. Ask who runs it: `manti seal key` prints it."}
		}
		return text, nil
	}))
}

// receipt proves a call to those who made it.
func (g *Gateway) receipt(w http.ResponseWriter, r *http.Request) {
	c, ok := g.begin(w, r)
	if !ok {
		return
	}
	id, err := domain.ParseID[domain.EventID](chi.URLParam(r, "id"))
	if err != nil {
		c.sendError(&domain.Error{Code: domain.CodeNotFound, Message: "That is no request's id: an answer's header manti-request-id is."})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), receiptTimeout)
	defer cancel()
	receipt, err := g.cfg.Receipts.Receipt(ctx, id, c.mayRead)
	if err != nil {
		c.sendEvidenceError(err)
		return
	}
	if !receipt.SupersededBy.IsZero() {
		w.Header().Set("Manti-Superseded-By", receipt.SupersededBy.String())
	}
	c.sendBody(http.StatusOK, textPlain, receipt.Text)
}

// mayRead reports whether the caller may see a call: the key that made it, any
// key of its project, and a key of no project any call of its organisation.
func (c *call) mayRead(o CallOwner) bool {
	switch who := c.who; {
	case who.Key == o.Key && !o.Key.IsZero():
		return true
	case who.Org != o.Org || o.Org.IsZero():
		return false
	default:
		return who.Project == o.Project || who.Project.IsZero()
	}
}

// evidence serves what says nothing of single calls.
func (g *Gateway) evidence(contentType string, get func(context.Context, *http.Request) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, ok := g.begin(w, r)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), receiptTimeout)
		defer cancel()
		body, err := get(ctx, r)
		if err != nil {
			c.sendEvidenceError(err)
			return
		}
		c.sendBody(http.StatusOK, contentType, body)
	}
}

// sendEvidenceError answers with what went wrong, which is logged if it isn't
// the caller's affair.
func (c *call) sendEvidenceError(err error) {
	if _, ok := errors.AsType[*domain.Error](err); !ok && !errors.Is(err, context.Canceled) {
		c.g.cfg.Log.Error("no proof could be made", "request", c.id, "err", err)
	}
	c.sendError(domain.ErrorOf(err))
}
