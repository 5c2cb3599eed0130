package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"manti/db/dbtest"
)

// block is a piece of code in the README.
type block struct{ language, code string }

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

func readme(t *testing.T) []block {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	return blocks
}

// What the README says to paste works when pasted.
func TestREADME(t *testing.T) {
	t.Parallel()
	needsSpeed(t)
	const key = testKey
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	database := dbtest.Open(t, dbtest.Options{})
	data := folder(t)
	env := environment{}.onDatabase(database.URL()).with("MANTI_ORIGIN", "example.com/ledger", "MANTI_DATA", data, "MANTI_SPOOL", filepath.Join(data, "spool"))
	env = env.with("MANTI_SEAL_KEY", strings.TrimSpace(manti(t, env, "seal", "keygen")))
	p := serve(t, data, env).ready()
	poll(t, "the key", func() bool { return call(t.Context(), "http://"+p.addr, key, quick, "hello").whole })
	local := strings.NewReplacer("http://127.0.0.1:8080", "http://"+p.addr, "go run ./cmd/manti", path, "sim/chat", "sim/fast")

	run := func(t *testing.T, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "MANTI_KEY="+key)
		for k, v := range env {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	file := func(t *testing.T, name, code string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(local.Replace(code)), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ran := map[string]int{}
	for _, b := range readme(t) {
		switch {
		case b.language == "sh" && strings.Contains(b.code, "receipt"):
			id := call(t.Context(), "http://"+p.addr, key, quick, "prove it").id
			paste := "set -e; cd " + t.TempDir() + "; ID=" + id + "; " + strings.Replace(b.code, "curl ", "curl -fsS --retry 20 --retry-delay 1 ", 1)
			if out := run(t, "sh", "-c", local.Replace(paste)); !strings.Contains(out, id) {
				t.Errorf("%s\nprinted\n%s", b.code, out)
			}
			ran["receipt"]++
		case b.language == "sh" && strings.Contains(b.code, "curl "):
			out := run(t, "sh", "-c", local.Replace(strings.Replace(b.code, "curl ", "curl -fsS ", 1)))
			if !strings.Contains(out, `"choices"`) && !strings.Contains(out, "message_stop") {
				t.Errorf("%s\nprinted\n%s", b.code, out)
			}
			ran["curl"]++
		case b.language == "sh" && strings.Contains(b.code, "usage"):
			for line := range strings.Lines(b.code) {
				if out := run(t, "sh", "-c", local.Replace(line)); out == "" {
					t.Errorf("%s printed nothing", line)
				}
			}
			ran["usage"]++
		case b.language == "go":
			if out := run(t, "go", "run", file(t, "main.go", b.code)); strings.TrimSpace(out) == "" {
				t.Error("the Go example printed nothing")
			}
			ran["go"]++
		case b.language == "python":
			if _, err := exec.LookPath("python3"); err == nil {
				run(t, "python3", "-m", "py_compile", file(t, "example.py", b.code))
			}
			ran["python"]++
		case b.language == "sql":
			if _, err := database.Pool(t, "").Exec(t.Context(), b.code); err != nil {
				t.Errorf("%s\n%v", b.code, err)
			}
			ran["sql"]++
		}
	}
	for what, want := range map[string]int{"curl": 2, "receipt": 1, "usage": 1, "go": 1, "python": 2, "sql": 1} {
		if ran[what] != want {
			t.Errorf("%d examples with %s were run, want %d: has the README changed its form?", ran[what], what, want)
		}
	}
}
