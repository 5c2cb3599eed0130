package projections

import (
	"crypto/sha256"
	_ "embed" // for the lists
	"encoding/hex"
	"encoding/json"
	"fmt"

	"manti/domain"
)

//go:embed prices_list.json
var providersList []byte

//go:embed sim_list.json
var simulatorList []byte

// BuiltinPrices is the price book that this program brings along: the list
// prices of OpenAI and Anthropic, and the simulator's models in XTS. The
// simulator's are always in it, so that turning it on or off publishes nothing.
func BuiltinPrices() (*domain.PriceBook, error) {
	var book *domain.PriceBook
	for _, list := range [][]byte{simulatorList, providersList} {
		f, err := ParsePriceFile(list)
		if err != nil {
			return nil, fmt.Errorf("read built-in prices: %w", err)
		}
		if book, _, err = f.Book(book); err != nil {
			return nil, fmt.Errorf("build built-in prices: %w", err)
		}
	}
	return book, nil
}

// BookDigest is the SHA-256 of the book's JSON, in hex: the Digest of its
// publication.
func BookDigest(book *domain.PriceBook) (string, error) {
	text, err := json.Marshal(book)
	if err != nil {
		return "", fmt.Errorf("encode price book: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
