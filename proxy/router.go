package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"manti/domain"
	"manti/proxy/dialect"
)

// Handler serves the data plane's routes.
func (g *Gateway) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(g.limitHeader)
	if len(g.cfg.CORSOrigins) > 0 {
		r.Use(g.cors)
	}
	r.Post("/v1/chat/completions", g.serve(dialect.ChatCompletions, g.openai))
	r.Post("/v1/responses", g.serve(dialect.Responses, g.openai))
	r.Post("/v1/completions", g.serve(dialect.Completions, g.openai))
	r.Post("/v1/embeddings", g.serve(dialect.Embeddings, g.openai))
	r.Post("/v1/messages", g.serve(dialect.Messages, g.anthropic))
	r.Post("/v1/messages/count_tokens", g.serve(dialect.CountTokens, g.anthropic))
	r.Get("/v1/models", g.models)
	r.Get("/v1/models/*", g.model)
	g.receipts(r)
	r.Get("/healthz", healthz)
	r.Get("/readyz", g.readyz)
	if g.cfg.Metrics != nil {
		r.Method(http.MethodGet, "/metrics", g.cfg.Metrics)
	}
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		g.refuse(w, r, &domain.Error{Code: domain.CodeNotFound, Message: "There is nothing at " + domain.CleanText(r.URL.Path, 200) + ". See the README for the routes."})
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		g.refuse(w, r, &domain.Error{Code: domain.CodeMethod, Message: r.Method + " isn't allowed here."})
	})
	return r
}

// refuse answers a request that is no call with an error in the dialect that
// its path or headers suggest.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, e *domain.Error) {
	begun := now()
	c := &call{g: g, w: w, out: http.NewResponseController(w), r: r, caller: g.dialectOf(r), begun: begun, id: newEventID(begun)}
	c.showID()
	c.sendError(e)
}

// dialectOf guesses who asks.
func (g *Gateway) dialectOf(r *http.Request) dialect.Dialect {
	if strings.HasPrefix(r.URL.Path, "/v1/messages") || r.Header.Get("Anthropic-Version") != "" {
		return g.anthropic
	}
	return g.openai
}

// cors lets browsers of the configured origins call.
func (g *Gateway) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin == "" || !g.allowsOrigin(origin) {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
		h.Set("Access-Control-Expose-Headers", "*") // no cookies are taken, so the star holds
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Gateway) allowsOrigin(origin string) bool {
	return slices.Contains(g.cfg.CORSOrigins, "*") || slices.Contains(g.cfg.CORSOrigins, origin)
}
