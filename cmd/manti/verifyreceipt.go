package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"manti/domain"
	"manti/ledger/seal"
)

// verifyReceipt checks a receipt offline, by nothing but the file and verifier
// keys, and says in plain words what it proves. The file is what GET /v1/receipts
// answered, or what `manti receipt --private` printed; "-" is standard input.
func verifyReceipt(out io.Writer, path, keyText string) error {
	if keyText == "" {
		return usageError{"manti verify --receipt: --key must be the ledger's verifier key, from somebody whom you trust: `manti seal key` prints it where the ledger is sealed"}
	}
	keys, err := seal.ParseKeys(keyText)
	if err != nil {
		return usageError{"--key: " + err.Error()}
	}
	if keys.Len() == 0 {
		return usageError{"--key: there is no key in it"}
	}
	text, err := readReceipt(path)
	if err != nil {
		return err
	}
	var d *dossier
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		d = &dossier{}
		if err := json.Unmarshal(text, d); err != nil {
			return fmt.Errorf("%s proves nothing: it is neither a receipt nor what `manti receipt --private` prints: %w", path, err)
		}
		text = []byte(d.Receipt)
	}
	r, err := seal.ParseReceipt(text)
	if err == nil {
		err = r.Verify(keys)
	}
	if err == nil && d != nil {
		err = verifyDossier(r, d)
	}
	if err != nil {
		return fmt.Errorf("%s proves nothing: %w", path, err)
	}
	return explainReceipt(out, r, d)
}

// maxReceiptFile is more than any receipt is.
const maxReceiptFile = 16 << 20

func readReceipt(path string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the receipt: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxReceiptFile))
	if err != nil {
		return nil, fmt.Errorf("read the receipt: %w", err)
	}
	return text, nil
}

func verifyDossier(r *seal.Receipt, d *dossier) error {
	salt, err := hex.DecodeString(d.Salt)
	if err != nil || len(salt) != len(domain.Salt{}) {
		return errors.New("the private part's salt isn't 16 bytes in hexadecimal")
	}
	return r.VerifyPrivate(domain.Salt(salt), []byte(d.Private))
}

func explainReceipt(out io.Writer, r *seal.Receipt, d *dossier) error {
	var b strings.Builder
	c := r.Checkpoint
	fmt.Fprintf(&b, "The receipt is genuine.\n\n")
	fmt.Fprintf(&b, "The holder of the key has signed that the ledger %s had %d events, and that the event\nbelow was number %d of them (counted from 0), recorded at %s. The event can't be\nchanged, moved or left out any more without contradicting that signature.\n\n", c.Origin, c.Size, r.Index, r.RecordedAt().Format(time.RFC3339Nano))
	if err := appendJSON(&b, r.Public()); err != nil {
		return err
	}
	if d != nil {
		b.WriteString("\nIts private part is the one that the event commits to:\n\n")
		if err := appendJSON(&b, []byte(d.Private)); err != nil {
			return err
		}
	}
	b.WriteString("\nIt doesn't prove that no later event corrects this one: ask for the receipt again to learn that.\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func appendJSON(b *strings.Builder, text []byte) error {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return fmt.Errorf("the receipt is genuine, but its event can't be shown: %w", err)
	}
	b.Write(pretty.Bytes())
	b.WriteByte('\n')
	return nil
}
