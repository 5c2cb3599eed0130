package seal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/receipts.md says to do by hand convinces by hand.
func TestReceiptByHand(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "xxd", "sha256sum", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " isn't installed")
		}
	}
	doc, err := os.ReadFile("../../docs/receipts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(doc), "```sh\n")
	script, _, ok := strings.Cut(script, "```")
	if !ok {
		t.Fatal("docs/receipts.md has no script")
	}
	s := newSealed(t, 300)
	for _, i := range []int{0, 77, 256, 299} {
		p := s.prove(t, s.calls[i].ID)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "receipt.tlog-proof"), p.Text(), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "VERIFIER_KEY="+s.signer.VerifierKey())
		out, err := cmd.CombinedOutput()
		for _, want := range []string{"the entry is in the tree\n", "Signature Verified Successfully\n", "recorded at ", string(s.calls[i].Public)} {
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("entry %d: %v, no %q in\n%s", i, err, want, out)
			}
		}
	}
}
