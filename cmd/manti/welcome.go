package main

import (
	"fmt"
	"os"
	"strings"

	"manti/domain"
)

// welcome prints the first key and calls that work when pasted. It is printed
// once in the life of a private Postgres; a key never goes into a log.
func (c *control) welcome(key domain.Secret) {
	if key == "" {
		return
	}
	base := "http://" + reachable(c.listener.Addr())
	model, why := c.firstModel()
	var b strings.Builder
	fmt.Fprintf(&b, "\nmanti serves %s. Your API key, shown this once:\n\n  %s\n\nTry it%s:\n\n", base, key.Reveal(), why)
	fmt.Fprintf(&b, "  curl %s/v1/chat/completions -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \\\n    -d '{\"model\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello!\"}]}'\n\n", base, key.Reveal(), model)
	fmt.Fprintf(&b, "and streamed:\n\n  curl -N %s/v1/chat/completions -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \\\n    -d '{\"model\": \"%s\", \"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Hello!\"}]}'\n\n", base, key.Reveal(), model)
	fmt.Fprintf(&b, "Then see what it cost: %s usage%s\n\n", program(os.Args[0]), c.dataHint())
	fmt.Fprint(c.io.out, b.String())
}

// program is how this program was called, for commands to paste: a binary that
// `go run` built is gone when it ends.
func program(arg0 string) string {
	if strings.Contains(arg0, "/go-build") {
		return "go run ./cmd/manti"
	}
	return arg0
}

// firstModel is a model that can be called with what is set up.
func (c *control) firstModel() (name, why string) {
	switch {
	case c.cfg.simulated():
		return "sim/chat", " (the simulator answers; set MANTI_PROVIDERS_OPENAI_API_KEY or MANTI_PROVIDERS_ANTHROPIC_API_KEY for the real ones)"
	case c.cfg.OpenAI.Key != "":
		return "gpt-4o-mini", ""
	}
	return "claude-3-5-haiku-20241022", ""
}

// dataHint is the flag by which other commands find this data directory.
func (c *control) dataHint() string {
	if c.cfg.Data == c.cfg.usualData {
		return ""
	}
	return " --data " + c.cfg.Data
}
