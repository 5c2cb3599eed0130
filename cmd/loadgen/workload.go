package main

import (
	"fmt"
	"strings"
	"time"

	"manti/proxy/dialect"
	"manti/proxy/sim"
)

// workload is a kind of call and how it is usually made.
type workload struct {
	name, what  string
	stream      bool
	mode        mode
	concurrency int
	rate        float64 // calls a second, in the open loop
	// promptBytes is the length of the prompt's text.
	promptBytes int
	// content is how many bytes of text the answer has, chunks in how many
	// pieces it comes.
	content, chunks int
	// models are names that a gateway knows, by dialect. The simulator takes
	// them for the load model of the workload's name.
	models map[dialect.Name]string
}

type mode string

const (
	closedLoop mode = "closed" // each caller waits for its answer before it calls again
	openLoop   mode = "open"   // calls are due at a rate, whatever comes back
)

func workloads() []workload {
	all := []workload{
		{name: "w1", what: "plain, 1 KB each way, no upstream latency", mode: closedLoop, concurrency: 64, promptBytes: 900,
			models: names("gpt-4o", "claude-3-5-sonnet-20241022")},
		{name: "w2", what: "the same with 50 ms upstream latency", mode: openLoop, rate: 1000, concurrency: 2048, promptBytes: 900,
			models: names("gpt-4o-mini", "claude-3-5-haiku-20241022")},
		{name: "w3", what: "streams of 100 chunks of 20 bytes without gaps", mode: closedLoop, concurrency: 16, stream: true, promptBytes: 900,
			models: names("gpt-4-turbo", "claude-3-opus-20240229")},
		{name: "w4", what: "streams of 250 chunks, one every 20 ms", mode: closedLoop, concurrency: 500, stream: true, promptBytes: 900,
			models: names("gpt-4", "claude-3-sonnet-20240229")},
		{name: "w4slow", what: "streams of 100 chunks, one every 200 ms", mode: closedLoop, concurrency: 2000, stream: true, promptBytes: 900,
			models: names("gpt-3.5-turbo", "claude-3-haiku-20240307")},
		{name: "w5", what: "plain, 1 MB request, 100 KB answer", mode: closedLoop, concurrency: 8, promptBytes: 1_000_000,
			models: names("gpt-4.1", "claude-opus-4-1")},
	}
	shapes := sim.BuiltIn()
	for i := range all {
		shape := shapes[all[i].name]
		all[i].chunks, all[i].content = shape.Chunks, shape.Chunks*shape.ChunkBytes
	}
	return all
}

func names(openAI, anthropic string) map[dialect.Name]string {
	return map[dialect.Name]string{dialect.OpenAI: openAI, dialect.Anthropic: anthropic}
}

func findWorkload(name string) (workload, error) {
	for _, w := range workloads() {
		if w.name == name {
			return w, nil
		}
	}
	return workload{}, fmt.Errorf("there is no workload %q", name)
}

// aliases are the models that the simulator serves under the names of models
// that gateways know.
func aliases() map[string]sim.Model {
	shapes, models := sim.BuiltIn(), map[string]sim.Model{}
	for _, w := range workloads() {
		for _, name := range w.models {
			models[name] = shapes[w.name]
		}
	}
	return models
}

// request is what a call sends, byte by byte, and what is expected back.
type request struct {
	bytes   []byte
	api     dialect.Name
	stream  bool
	content int
	chunks  int
	timeout time.Duration
}

// callTimeout is longer than any workload's call takes on a slow machine.
const callTimeout = 60 * time.Second

// request renders a call of the workload.
func (w workload) request(api dialect.Name, host, key, model string) request {
	if model == "" {
		model = w.models[api]
	}
	path, auth, more := "/v1/chat/completions", "Authorization: Bearer "+key, ""
	if w.stream {
		more = `,"stream":true,"stream_options":{"include_usage":true}`
	}
	if api == dialect.Anthropic {
		path, auth, more = "/v1/messages", "x-api-key: "+key+"\r\nanthropic-version: 2023-06-01", `,"max_tokens":8192`
		if w.stream {
			more += `,"stream":true`
		}
	}
	prompt := strings.Repeat("word ", w.promptBytes/5)
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"%s"}]%s}`, model, prompt, more)
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Type: application/json\r\nUser-Agent: loadgen\r\nContent-Length: %d\r\n\r\n",
		path, host, auth, len(body))
	return request{bytes: []byte(head + body), api: api, stream: w.stream, content: w.content, chunks: w.chunks, timeout: callTimeout}
}
