package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"manti/domain"
	"manti/proxy"
	"manti/proxy/host/wire"
	"manti/proxy/sim"
)

// What the caller sees and what the event says when a provider fails, in each
// of the four ways, streamed and not.
func TestProviderFaults(t *testing.T) {
	t.Parallel()
	type want struct {
		status  int // of a plain call
		across  int // of a plain call to another dialect, if it differs
		outcome domain.Outcome
		billed  bool
		// in a stream: the error comes in it, after a 200
		inStream      bool
		streamOutcome domain.Outcome
	}
	faults := map[sim.Fault]want{
		"400":              {status: 400, outcome: domain.ProviderError},
		"401":              {status: 401, across: 502, outcome: domain.ProviderError},
		"429":              {status: 429, outcome: domain.ProviderError},
		"500":              {status: 500, outcome: domain.ProviderError},
		sim.FaultReset:     {status: 502, outcome: domain.UpstreamFailed},
		sim.FaultHangup:    {status: 502, outcome: domain.UpstreamFailed},
		sim.FaultNotHTTP:   {status: 502, outcome: domain.UpstreamFailed},
		sim.FaultStall:     {status: 504, outcome: domain.UpstreamFailed},
		sim.FaultEmpty500:  {status: 500, outcome: domain.ProviderError},
		sim.FaultHTML:      {status: 502, outcome: domain.ProviderError},
		sim.FaultGarbage:   {status: 502, outcome: domain.UpstreamFailed, inStream: true, streamOutcome: domain.Broken, billed: true},
		sim.FaultResetMid:  {status: 502, outcome: domain.Broken, inStream: true, billed: true},
		sim.FaultHangupMid: {status: 502, outcome: domain.Broken, inStream: true, billed: true},
		sim.FaultCut:       {inStream: true, outcome: domain.Broken, billed: true},
		sim.FaultStallMid:  {status: 504, outcome: domain.Broken, inStream: true, billed: true},
		sim.FaultErrorMid:  {inStream: true, outcome: domain.Broken, billed: true},
	}
	dialects := []struct{ name, path, model string }{
		{"openai", chatPath, "gpt"}, {"anthropic", msgPath, "claude"},
		{"openai to anthropic", chatPath, "claude"}, {"anthropic to openai", msgPath, "gpt"},
	}
	for fault, want := range faults {
		for _, d := range dialects {
			for _, stream := range []bool{false, true} {
				if !stream && want.status == 0 {
					continue
				}
				name := string(fault) + "/" + d.name
				if stream {
					name += "/streamed"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, rigConfig{wire: wire.Config{HeaderTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond}})
					got := r.post(d.path, chat(d.model+"-fault-"+string(fault), stream))
					status := want.status
					if want.across != 0 && strings.Contains(d.name, " to ") {
						status = want.across
					}
					outcome := want.outcome
					if stream && want.inStream {
						status = 200
						if want.streamOutcome != "" {
							outcome = want.streamOutcome
						}
					}
					if got.status != status {
						t.Errorf("status: got %d, want %d: %s", got.status, status, got.body)
					}
					if !strings.Contains(got.body, `"error"`) {
						t.Errorf("there is no error in %q", got.body)
					}
					if strings.Contains(got.body, "[DONE]") || strings.Contains(got.body, "message_stop") {
						t.Errorf("the broken stream has an end mark: %q", got.body)
					}
					e := r.only()
					if e.Outcome != outcome {
						t.Errorf("outcome: got %s, want %s", e.Outcome, outcome)
					}
					billed := !e.Charge.Amount.IsZero()
					if stream && want.inStream && want.billed != billed {
						t.Errorf("billed %v, want %v: %+v", billed, want.billed, e.RequestPublic)
					}
					if billed && (e.Provenance == domain.Reported || e.Provenance == domain.NoUsage) {
						t.Errorf("a broken answer's usage is %s", e.Provenance)
					}
					if !stream && billed != (want.outcome == domain.Broken) {
						t.Errorf("a plain answer of which %v came is charged %s", want.outcome == domain.Broken, e.Charge.Amount)
					}
					if stream && !want.inStream && billed {
						t.Errorf("no answer came, charged %s", e.Charge.Amount)
					}
					if e.Error == "" || e.Erasable.ErrorText == "" {
						t.Errorf("the event doesn't say what happened: %q %q", e.Error, e.Erasable.ErrorText)
					}
				})
			}
		}
	}
}

func TestAnswersThatOnlyLookOdd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault      sim.Fault
		provenance domain.Provenance
	}{
		{sim.FaultNoUsage, domain.Estimated}, {sim.FaultNoDone, domain.Reported}, {sim.FaultOddFraming, domain.Reported},
		{sim.FaultRefuse, domain.Reported}, {sim.FaultFilter, domain.Reported},
	}
	for _, test := range tests {
		for _, path := range []string{chatPath, msgPath} {
			for _, model := range []string{"gpt", "claude"} {
				t.Run(string(test.fault)+path+"/"+model, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, rigConfig{})
					got := r.post(path, chat(model+"-fault-"+string(test.fault), true))
					if got.status != 200 || strings.Contains(got.body, `"error"`) {
						t.Errorf("got %d %s", got.status, got.body)
					}
					e := r.only()
					if e.Outcome != domain.Completed || e.Provenance != test.provenance || e.Charge.Amount.IsZero() {
						t.Errorf("event: %+v", e.RequestPublic)
					}
					if (e.Provenance == domain.Estimated) != (e.Estimator != "") {
						t.Errorf("estimator: %q", e.Estimator)
					}
				})
			}
		}
	}
}

// The completion is durable before the caller sees the end, plain and streamed.
func TestTheEndComesAfterTheRecord(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]bool{"plain": false, "streamed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{})
			w := httptest.NewRecorder()
			r.recorder.onEnd = func() {
				seen := w.Body.String()
				if !stream && (seen != "" || w.Code != 200 || w.Result().Header.Get("Content-Type") != "") {
					t.Errorf("before the record the caller saw %q", seen)
				}
				if strings.Contains(seen, "[DONE]") || (stream && !strings.Contains(seen, "data:")) {
					t.Errorf("before the record the caller saw %q", seen)
				}
			}
			req := httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(chat("gpt-4o", stream)))
			req.Header.Set("X-Api-Key", testKey.Reveal())
			r.handler.ServeHTTP(w, req)
			r.only()
		})
	}
}

// A completion that can't be made durable aborts the connection: the caller
// sees no good end.
func TestNoRecordNoEnd(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]bool{"plain": false, "streamed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{})
			r.recorder.endErr = errDisk
			server := httptest.NewServer(r.handler)
			defer server.Close()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+chatPath, strings.NewReader(chat("gpt-4o", stream)))
			req.Header.Set("X-Api-Key", testKey.Reveal())
			resp, err := server.Client().Do(req)
			if err != nil {
				return // aborted before the head: nothing was promised
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil || strings.Contains(string(body), "[DONE]") {
				t.Errorf("the answer ended well: %q", body)
			}
		})
	}
}

func TestAStreamWhoseStartIsNotDurableSendsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{})
	r.recorder.syncErr = errDisk
	if got := r.post(chatPath, chat("gpt-4o", true)); strings.Contains(got.body, "data:") {
		t.Errorf("got %q", got.body)
	}
	r.only()
}

func TestAPanicLeavesOneEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{})
	req := httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(chat("gpt-4o", true)))
	req.Header.Set("X-Api-Key", testKey.Reveal())
	w := &panicky{ResponseRecorder: httptest.NewRecorder()}
	func() {
		defer func() { _ = recover() }()
		r.handler.ServeHTTP(w, req)
	}()
	if e := r.only(); e.Outcome != domain.Failed || e.Error != domain.CodeInternal {
		t.Errorf("got %+v", e.RequestPublic)
	}
}

type panicky struct{ *httptest.ResponseRecorder }

func (*panicky) Write([]byte) (int, error) { panic("a bug of ours") }

// A caller that hangs up is billed for the whole answer, which is read to its
// end, or with the policy "cancel" for what came.
func TestCallerGone(t *testing.T) {
	t.Parallel()
	slow := map[string]sim.Model{"gpt-4o": {Chunks: 30, ChunkBytes: 20, Gap: 10 * time.Millisecond}}
	for _, policy := range []proxy.CallerGonePolicy{proxy.Drain, proxy.Cancel} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{sim: sim.Config{Models: slow}, edit: func(c *proxy.Config) { c.CallerGone = policy }})
			ended := make(chan struct{})
			r.recorder.onEnd = func() { close(ended) }
			server := httptest.NewServer(r.handler)
			defer server.Close()
			ctx, hangUp := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+chatPath, strings.NewReader(chat("gpt-4o", true)))
			req.Header.Set("X-Api-Key", testKey.Reveal())
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			hangUp()
			resp.Body.Close()
			<-ended
			server.Close() // waits for the handler
			e := r.only()
			if e.Charge.Amount.IsZero() {
				t.Error("the call is free")
			}
			if policy == proxy.Drain && (e.Outcome != domain.CallerGone || e.Provenance != domain.Reported || e.Usage[domain.OutputTokens] != 30) {
				t.Errorf("drained: %+v", e.RequestPublic)
			}
			if policy == proxy.Cancel && (e.Provenance == domain.Reported || e.Usage[domain.OutputTokens] >= 100) {
				t.Errorf("cancelled: %+v", e.RequestPublic)
			}
		})
	}
}

// Stopping for good ends what runs, and each has its event.
func TestAbort(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{wire: wire.Config{}, sim: sim.Config{Models: map[string]sim.Model{"gpt-4o": {Chunks: 1000, ChunkBytes: 20, Gap: time.Hour}}}})
	server := httptest.NewServer(r.handler)
	defer server.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+chatPath, strings.NewReader(chat("gpt-4o", true)))
	req.Header.Set("X-Api-Key", testKey.Reveal())
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r.gateway.Abort()
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(body), "shutting down") {
		t.Errorf("got %q", body)
	}
	if e := r.only(); e.Outcome != domain.Broken {
		t.Errorf("got %+v", e.RequestPublic)
	}
}

func TestASlowBodyTimesOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{edit: func(c *proxy.Config) { c.BodyTimeout = 50 * time.Millisecond }})
	server := httptest.NewServer(r.handler)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Api-Key: "+testKey.Reveal()+"\r\nContent-Length: 100\r\n\r\n{")
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || r.events() != 0 {
		t.Errorf("got %q", answer)
	}
}
