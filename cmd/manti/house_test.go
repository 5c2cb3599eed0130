package main

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

const module = "manti/"

// mayImport is the table of what may import what of ours. A package without a
// row fails: a new one is a decision. "x/..." is x and everything in it.
var mayImport = map[string][]string{
	"domain":                  {},
	"db":                      {},
	"db/dbtest":               {"db/..."},
	"db/internal/cluster":     {"db/..."},
	"db/internal/fetch":       {"db/..."},
	"db/local":                {"db/..."},
	"ledger":                  {"domain", "db", "ledger/internal/row", "ledger/spool"},
	"ledger/internal/row":     {"domain", "db"},
	"ledger/seal":             {"domain", "db", "ledger"},
	"ledger/direct":           {"domain", "db", "ledger", "ledger/spool"},
	"ledger/backup":           {"db"},
	"ledger/spool":            {},
	"ledger/verify":           {"domain", "db", "ledger", "ledger/internal/row", "ledger/seal", "ledger/spool"},
	"projections":             {"domain", "db", "ledger"},
	"jobs":                    {"domain", "db", "ledger", "projections"},
	"proxy":                   {"domain", "proxy/..."},
	"proxy/admit":             {"domain", "proxy/..."},
	"proxy/auth":              {"domain"},
	"proxy/dialect":           {"domain", "proxy/llm/..."},
	"proxy/dialect/anthropic": {"domain", "proxy/dialect", "proxy/llm/...", "proxy/sse"},
	"proxy/dialect/openai":    {"domain", "proxy/dialect", "proxy/llm/...", "proxy/sse"},
	"proxy/host":              {"domain", "proxy/dialect", "proxy/host/wire"},
	"proxy/host/wire":         {},
	"proxy/llm":               {"domain"},
	"proxy/llm/scan":          {},
	"proxy/route":             {"domain", "proxy/dialect", "proxy/host"},
	"proxy/sim":               {"domain", "proxy/dialect", "proxy/llm/...", "proxy/sse"},
	"proxy/sse":               {},
	"cmd/loadgen":             {"db/...", "domain", "proxy/..."},
	"cmd/manti":               {"db/...", "domain", "jobs", "ledger/...", "projections", "proxy/..."},
}

// noImport are modules that a part of the house must do without: the data
// plane runs with the database down.
var noImport = map[string][]string{
	"proxy":  {"github.com/jackc", "github.com/riverqueue", "database/sql"},
	"domain": {"net", "os", "github.com/jackc", "github.com/riverqueue", "database/sql"},
}

// goFiles are the project's Go files by package folder, parsed.
func goFiles(t *testing.T, tests bool) map[string][]*ast.File {
	t.Helper()
	files := map[string][]*ast.File{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && name != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || (!tests && strings.HasSuffix(path, "_test.go")) {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel("../..", filepath.Dir(path))
		files[filepath.ToSlash(folder)] = append(files[filepath.ToSlash(folder)], f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// imports are the paths that a file imports.
func imports(f *ast.File) []string {
	var paths []string
	for _, i := range f.Imports {
		paths = append(paths, strings.Trim(i.Path.Value, `"`))
	}
	return paths
}

func within(path, rule string) bool {
	if all, ok := strings.CutSuffix(rule, "/..."); ok {
		return path == all || strings.HasPrefix(path, all+"/")
	}
	return path == rule
}

func TestImportsPointForward(t *testing.T) {
	t.Parallel()
	for folder, files := range goFiles(t, false) {
		allowed, ok := mayImport[folder]
		if !ok {
			t.Errorf("package %s has no row in the table of imports", folder)
			continue
		}
		for _, f := range files {
			for _, path := range imports(f) {
				ours, is := strings.CutPrefix(path, module)
				if is && !slices.ContainsFunc(allowed, func(rule string) bool { return within(ours, rule) }) {
					t.Errorf("%s imports %s", folder, ours)
				}
				for part, banned := range noImport {
					if within(folder, part+"/...") && slices.ContainsFunc(banned, func(b string) bool { return within(path, b+"/...") }) {
						t.Errorf("%s imports %s", folder, path)
					}
				}
			}
		}
	}
}

func TestTheTableHasNoDeadRow(t *testing.T) {
	t.Parallel()
	files := goFiles(t, false)
	for folder := range mayImport {
		if len(files[folder]) == 0 {
			t.Errorf("there is no package %s", folder)
		}
	}
}

// No float comes near money or tokens.
func TestNoFloatNearMoney(t *testing.T) {
	t.Parallel()
	for folder, files := range goFiles(t, false) {
		if folder != "domain" && !within(folder, "ledger/...") && folder != "projections" && folder != "proxy/admit" {
			continue
		}
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Ident:
					if n.Name == "float64" || n.Name == "float32" || n.Name == "InexactFloat64" || n.Name == "NewFromFloat" {
						if !metricsOnly(f) {
							t.Errorf("%s/%s uses %s", folder, f.Name, n.Name)
						}
					}
				case *ast.BasicLit:
					if n.Kind == token.FLOAT && !metricsOnly(f) {
						t.Errorf("%s has the float %s", folder, n.Value)
					}
				}
				return true
			})
		}
	}
}

// metricsOnly reports whether a file hands numbers to Prometheus, which knows
// floats only; such a file may not touch money.
func metricsOnly(f *ast.File) bool {
	paths := imports(f)
	return slices.Contains(paths, "github.com/prometheus/client_golang/prometheus") && !slices.Contains(paths, "github.com/shopspring/decimal")
}

// Every exported name says what it is.
func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	for folder, files := range goFiles(t, false) {
		documented := false
		for _, f := range files {
			documented = documented || f.Doc != nil
			for _, d := range f.Decls {
				undocumented(d, func(name string) { t.Errorf("%s.%s has no doc comment", folder, name) })
			}
		}
		if !documented {
			t.Errorf("package %s has no doc comment", folder)
		}
	}
}

func undocumented(d ast.Decl, report func(string)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d.Recv)) {
			report(d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					report(s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						report(n.Name)
					}
				}
			}
		}
	}
}

func exportedReceiver(r *ast.FieldList) bool {
	name := ""
	ast.Inspect(r.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return true
	})
	return ast.IsExported(name)
}

// docs/configuration.md is what `manti help settings` prints.
func TestConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString("# Configuration\n\nFlags win over the environment, the environment over a file `.env` in the working directory. A variable that begins with `MANTI_` and\n" +
		"that manti doesn't know is an error: it is likely misspelt. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured for calls to providers.\n\n| variable | value | what it sets; default |\n| --- | --- | --- |\n")
	for _, s := range settings() {
		b.WriteString("| `" + s.name + "` | " + strings.ReplaceAll(s.value, "|", " or ") + " | " + s.doc + " |\n")
	}
	const path = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/configuration.md is not what settings says; `go test ./cmd/manti -update` rewrites it (-want +got):\n%s", diff)
	}
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings() {
		if !regexp.MustCompile(`(?m)^#?` + s.name + `=`).Match(example) {
			t.Errorf(".env.example lacks %s", s.name)
		}
	}
}

// Every command is in the help with what it does, and answers to -h.
func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	var all bytes.Buffer
	if err := help(&all, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		if !strings.Contains(all.String(), "  "+c.name) || c.doc == "" {
			t.Errorf("help lacks %s", c.name)
		}
		if c.name == "version" {
			continue
		}
		var out, errs bytes.Buffer
		err := run(t.Context(), append(strings.Fields(c.name), "-h"), nil, stdio{&out, &errs})
		if report(err, &errs) != 0 || !strings.Contains(errs.String(), c.doc) {
			t.Errorf("manti %s -h: %v %s", c.name, err, errs.String())
		}
	}
}

// Links in the documentation lead somewhere.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	docs, _ := filepath.Glob("../../docs/*.md")
	top, _ := filepath.Glob("../../*.md")
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	for _, path := range append(docs, top...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which isn't there", filepath.Base(path), m[1])
			}
		}
	}
}

// Each direct dependency has a line that says why it is there.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)
	for _, m := range direct.FindAllStringSubmatch(string(mod), -1) {
		if !strings.Contains(string(doc), m[1]) {
			t.Errorf("docs/dependencies.md has no line on %s", m[1])
		}
	}
}
