package sim

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"manti/proxy/dialect"
)

// serveOther answers what is no call: the books, the list of models, health.
func (c *call) serveOther(path string) {
	switch {
	case c.in.method != "GET":
	case path == "/sim/report":
		c.sendJSON(c.p.Books())
		return
	case path == "/sim/calls":
		c.sendJSON(c.p.Calls())
		return
	case path == "/models":
		c.sendJSON(c.p.list())
		return
	case strings.HasPrefix(path, "/models/"):
		name := strings.TrimPrefix(path, "/models/")
		if _, _, ok := c.p.find(name); ok {
			c.sendJSON(newListed(name))
			return
		}
	case path == "/" || path == "/healthz":
		c.send(200, "text/plain", []byte("ok\n"))
		return
	}
	c.api = dialect.OpenAI
	c.refuse(problem{status: 404, code: "unknown_url", message: "Unknown request URL: " + c.in.method + " " + c.in.path})
}

func (c *call) sendJSON(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("sim: our own answer doesn't marshal: " + err.Error())
	}
	c.send(200, "application/json", b)
}

// listed is a model in the list, with the fields of both APIs.
type listed struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	OwnedBy     string `json:"owned_by"`
	Type        string `json:"type"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

func newListed(name string) listed {
	return listed{ID: name, Object: "model", OwnedBy: "sim", Type: "model", DisplayName: name, CreatedAt: "1970-01-01T00:00:00Z"}
}

type list struct {
	Object  string   `json:"object"`
	Data    []listed `json:"data"`
	HasMore bool     `json:"has_more"`
	FirstID string   `json:"first_id"`
	LastID  string   `json:"last_id"`
}

func (p *Provider) list() list {
	names := slices.Sorted(maps.Keys(p.models))
	l := list{Object: "list", FirstID: names[0], LastID: names[len(names)-1]}
	for _, name := range names {
		l.Data = append(l.Data, newListed(name))
	}
	return l
}
