package dialect_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// TestReasonsAreSentences walks the sources that render requests: whatever they
// say to a caller begins with a capital letter and ends with a full stop, so
// that more can follow it.
func TestReasonsAreSentences(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"anthropic", "openai"} {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			count := 0
			for _, name := range requestSources(t, pkg) {
				file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, text := range texts(file) {
					count++
					if first := []rune(text)[0]; !unicode.IsUpper(first) && first != '…' || !strings.HasSuffix(text, ".") {
						t.Errorf("%s: %q is no sentence", filepath.Base(name), text)
					}
				}
			}
			if count < 10 {
				t.Errorf("only %d texts found", count)
			}
		})
	}
}

// requestSources are the files that render requests.
func requestSources(t *testing.T, pkg string) []string {
	t.Helper()
	var sources []string
	for _, pattern := range []string{"*_render.go", "turns.go"} {
		names, err := filepath.Glob(filepath.Join(pkg, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if base := filepath.Base(name); base != "answer_render.go" && base != "error_render.go" {
				sources = append(sources, name)
			}
		}
	}
	return sources
}

// texts are the strings with spaces that the functions of a file hold, sums of
// strings whole, with … for what isn't constant.
func texts(file *ast.File) []string {
	var found []string
	for _, decl := range file.Decls {
		if _, ok := decl.(*ast.FuncDecl); !ok {
			continue
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, ok := constant(e)
			if ok && strings.Contains(text, " ") {
				found = append(found, text)
			}
			return !ok
		})
	}
	return found
}

// constant is what a string or a sum with one says; ok is false for anything else.
func constant(e ast.Expr) (text string, ok bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		x, xOK := constant(e.X)
		y, yOK := constant(e.Y)
		if e.Op != token.ADD || !xOK && !yOK {
			return "", false
		}
		if !xOK {
			x = "…"
		}
		if !yOK {
			y = "…"
		}
		return x + y, true
	}
	return "", false
}
