// Package sim is a simulated provider that speaks OpenAI's and Anthropic's
// APIs: chat completions, responses, completions, embeddings, messages and
// count_tokens, plain and streamed. It serves without a provider's key, stands
// in for providers in tests, and is the upstream of load tests.
//
// # What it promises
//
// Everything about a call, its text, token counts, latencies and faults,
// follows from Config.Seed, the request's body and the number of the call.
// Only clocks don't: "created", and the stamps of the load models.
//
// Its books are exact: a call stands in them as begun before the first byte of
// its answer leaves, and its outcome before the last. So whoever has seen an
// answer finds it in Books. They are kept in memory; a crash loses them.
//
// # Models
//
// Names come with or without "sim/" in front.
//
//	fast          no latency, some 20 tokens
//	chat          a small chat model's latencies; also any gpt-… name
//	gpt-like      a large chat model's latencies
//	claude-like   Anthropic's: several tokens a chunk; also any claude-… name
//	reasoner      thinks first; also o1-…, o3-…, o4-…, gpt-5-… names
//	embed         embeddings; also any text-embedding-… name
//	w1            1 KB answer, no latency
//	w2            the same after 50 ms
//	w3            100 chunks of 20 bytes without gaps
//	w4            250 chunks of 20 bytes, one every 20 ms
//	w4slow        100 chunks of 20 bytes, one every 200 ms
//	w5            100 KB answer
//	fault-NAME    fast, with a fault
//
// A request with tools calls them, unless its last message is a tool's result
// or tool_choice is "none": the one that tool_choice names, else the first
// tool, and the second at once if parallel calls are allowed. A request for
// structured output gets an instance of its schema. A stop sequence ends the
// text where it appears in it; the word "the" is in nearly every text.
//
// The load models w… stamp their texts with clocks, so that latency can be
// taken without subtracting sleeps: see Stamp.
//
// # Faults
//
// A fault is asked for by model name ("fault-429", "chat-fault-reset-mid"), by
// the header sim-fault, or drawn by Config.Faults. "-once" behind its name
// makes it strike the first, third, … time only that the same body comes. See
// the constants of type Fault for what there is.
//
// Two host names of Dial stand for faults before HTTP: refuse.… refuses the
// connection, blackhole.… never answers.
//
// # Reading the books from outside
//
// GET /sim/report is Books as JSON, GET /sim/calls every call if
// Config.KeepCalls is set. The id that a caller sends as x-client-request-id
// is kept with its call.
package sim
