package proxy

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"manti/domain"
	"manti/proxy/route"
)

// modelObject is a model in a list, with both OpenAI's and Anthropic's fields
// (https://platform.openai.com/docs/api-reference/models,
// https://docs.anthropic.com/en/api/models-list).
type modelObject struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	OwnedBy     string `json:"owned_by"`
	Type        string `json:"type"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

// unlisted reports whether a model is for tests and measurements only: one of
// the simulator's that fail in some way, or that answer with a fixed load. They
// can be called, but a list of what is there needn't name them.
func unlisted(name string) bool {
	sim, ok := strings.CutPrefix(name, route.SimProvider+"/")
	return ok && (strings.HasPrefix(sim, "fault-") || len(sim) > 1 && sim[0] == 'w' && sim[1] >= '0' && sim[1] <= '9')
}

type modelList struct {
	Object  string        `json:"object"`
	Data    []modelObject `json:"data"`
	HasMore bool          `json:"has_more"`
	FirstID *string       `json:"first_id"`
	LastID  *string       `json:"last_id"`
}

func newModelObject(e *route.Entry) modelObject {
	created, err := time.Parse(time.DateOnly, e.Card.Created)
	if err != nil {
		created = time.Unix(0, 0)
	}
	return modelObject{
		ID: e.Name, Object: "model", Created: created.Unix(), OwnedBy: e.Card.Provider,
		Type: "model", DisplayName: e.Name, CreatedAt: created.UTC().Format(time.RFC3339),
	}
}

// models lists what can be called with what is set up.
func (g *Gateway) models(w http.ResponseWriter, r *http.Request) {
	s, ok := g.reader(w, r)
	if !ok {
		return
	}
	list := modelList{Object: "list", Data: []modelObject{}}
	for _, e := range s.Routes.Entries() {
		if unlisted(e.Name) {
			continue
		}
		list.Data = append(list.Data, newModelObject(e))
	}
	if n := len(list.Data); n > 0 {
		list.FirstID, list.LastID = &list.Data[0].ID, &list.Data[n-1].ID
	}
	sendJSON(w, list)
}

// model describes one model.
func (g *Gateway) model(w http.ResponseWriter, r *http.Request) {
	s, ok := g.reader(w, r)
	if !ok {
		return
	}
	name, err := url.PathUnescape(chi.URLParam(r, "*")) // SDKs escape the slash of sim/chat
	if err != nil {
		name = chi.URLParam(r, "*")
	}
	e, ok := s.Routes.Find(name)
	if !ok {
		g.refuse(w, r, &domain.Error{Code: domain.CodeNotFound, Field: "model", Message: "The model `" + domain.CleanText(name, 100) + "` can't be called here. GET /v1/models lists what can."})
		return
	}
	m := newModelObject(e)
	m.ID = name
	sendJSON(w, m)
}

// reader is the snapshot for a caller who may read it.
func (g *Gateway) reader(w http.ResponseWriter, r *http.Request) (*Snapshot, bool) {
	c, ok := g.begin(w, r)
	return c.snapshot, ok
}

// begin authenticates a request that is no call to a model, or answers it.
func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) (*call, bool) {
	begun := now()
	c := &call{g: g, w: w, r: r, caller: g.dialectOf(r), begun: begun, id: newEventID(begun), out: http.NewResponseController(w)}
	c.showID()
	if err := c.authenticate(); err != nil {
		c.sendError(domain.ErrorOf(err))
		return c, false
	}
	return c, true
}

func sendJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the reader left; there is nobody to tell
}
