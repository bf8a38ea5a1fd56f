package conclave_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The floors of the house, from below: see docs/architecture.md. A folder's subpackages stand on its floor.
var floors = [][]string{
	{"."},
	{"mls", "sframe", "pass", "merkle", "escrow", "watermark", "qr"},
	{"admission", "gate", "line", "roster", "audit", "exposure"},
	{"store", "identity", "network", "sfu", "turn", "phone", "signal", "witness", "bus", "opus"},
	{"server", "endpoint", "gateway", "web"},
	{"cmd", "test"},
}

// What else a package may import, beyond the floors below it and its own folder. Each needs a reason.
var stairs = map[string]string{
	"exposure → audit":   "reports are made from records",
	"exposure → line":    "reports speak of grades and findings",
	"audit → store":      "the log is a projection of a stream; it uses the store's interface, not its engine",
	"identity → store":   "people and devices are kept in the store",
	"identity → signal":  "it verifies the signature of a Hello, whose content signal defines",
	"phone → opus":       "a call's sound is coded where its packets are",
	"gateway → endpoint": "each phone leg is an endpoint of its own",
	"server → web":       "the server carries the web client's files",
}

// What a program must not link, not even through others. That the server cannot decrypt is this test, not a promise.
var forbiddenLinks = []struct {
	program, goos, goarch string
	packages              []string
}{
	{"conclave/cmd/conclaved", "", "", []string{"conclave/mls/member", "conclave/sframe", "conclave/endpoint", "conclave/opus", "conclave/escrow", "conclave/watermark", "conclave/phone", "conclave/gateway"}},
	{"conclave/cmd/conclave-wasm", "js", "wasm", []string{"net/http", "crypto/tls", "log/slog", "conclave/sfu", "conclave/server", "conclave/store", "conclave/opus"}},
}

// The cellar is pure: no input and output, no clock, no log.
var impure = []string{"os", "os/exec", "net", "net/http", "log", "syscall", "io/fs", "path/filepath"}

// The clock's readers and timers; and what the cellar may use of slog: its personal types say how they are to be logged,
// nothing there logs.
var (
	clock   = func(name string) bool { return slices.Contains(clockNames, name) }
	logging = func(name string) bool { return !slices.Contains([]string{"Value", "StringValue", "LogValuer"}, name) }

	clockNames = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
)

type goPackage struct {
	ImportPath, Dir, Doc, Name         string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, Deps                      []string
	CgoFiles                           []string
}

// goList returns what `go list` says of the packages, for GOOS and GOARCH where given.
func goList(t *testing.T, goos, goarch string, patterns ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Dir,Doc,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports,Deps,CgoFiles"}, patterns...)...)
	cmd.Env = os.Environ()
	if goos != "" {
		cmd.Env = append(cmd.Env, "GOOS="+goos, "GOARCH="+goarch)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(p.ImportPath, "node_modules") {
			packages = append(packages, p)
		}
	}
	return packages
}

// folder returns the name of the module's top folder that a package stands in, "." for the root, or false for a package
// of others.
func folder(importPath string) (string, bool) {
	if importPath == "conclave" {
		return ".", true
	}
	rest, ok := strings.CutPrefix(importPath, "conclave/")
	first, _, _ := strings.Cut(rest, "/")
	return first, ok
}

func floorOf(folder string) int {
	return slices.IndexFunc(floors, func(names []string) bool { return slices.Contains(names, folder) })
}

func TestImportsOnlyGoDown(t *testing.T) {
	// The browser's core has its own build, so both are looked at.
	packages := append(goList(t, "", "", "./..."), goList(t, "js", "wasm", "./cmd/...")...)
	for _, p := range packages {
		from, _ := folder(p.ImportPath)
		if floorOf(from) < 0 {
			t.Errorf("%s stands on no floor: add it to floors, and to docs/architecture.md", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			to, ours := folder(i)
			if !ours || to == from || floorOf(to) < floorOf(from) {
				continue
			}
			if _, ok := stairs[from+" → "+to]; !ok {
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, floorOf(from), i, floorOf(to))
			}
		}
	}
}

func TestNoProgramLinksWhatItMustNot(t *testing.T) {
	for _, f := range forbiddenLinks {
		found := goList(t, f.goos, f.goarch, f.program)
		if len(found) != 1 || len(found[0].GoFiles) == 0 {
			t.Errorf("%s has no Go files: nothing was checked", f.program)
			continue
		}
		for _, dep := range found[0].Deps {
			for _, forbidden := range f.packages {
				if dep == forbidden || strings.HasPrefix(dep, forbidden+"/") {
					t.Errorf("%s links %s", f.program, dep)
				}
			}
		}
	}
}

func TestTheCellarIsPure(t *testing.T) {
	for _, p := range goList(t, "", "", "./mls/...", "./sframe/...", "./pass/...", "./escrow/...", "./merkle/...") {
		if testOnly(p.ImportPath) {
			continue
		}
		for _, i := range p.Imports {
			if slices.Contains(impure, i) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
		noUse(t, p, "time", clock)
		noUse(t, p, "slog", logging)
	}
}

func TestTimeIsAnArgumentOnTheGroundFloor(t *testing.T) {
	for _, p := range goList(t, "", "", "./admission/...", "./line/...", "./roster/...", "./audit/...", "./exposure/...") {
		if !testOnly(p.ImportPath) {
			noUse(t, p, "time", clock)
		}
	}
}

// testOnly says whether a package serves tests alone: those are named after what they test.
func testOnly(importPath string) bool {
	return strings.HasSuffix(importPath, "test") || strings.Contains(importPath, "/internal/") || strings.HasSuffix(importPath, "/interop")
}

// noUse fails the test where p uses a name of package pkg that is forbidden.
func noUse(t *testing.T, p goPackage, pkg string, forbidden func(name string) bool) {
	t.Helper()
	fset := token.NewFileSet()
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == pkg && forbidden(s.Sel.Name) {
				t.Errorf("%s: %s.%s does not belong on this floor", fset.Position(s.Pos()), pkg, s.Sel.Name)
			}
			return true
		})
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range append(goList(t, "", "", "./..."), goList(t, "js", "wasm", "./cmd/conclave-wasm")...) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 20 {
			t.Errorf("%s has no doc comment", p.ImportPath)
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s needs cgo", p.ImportPath)
		}
	}
}

// A file over 800 lines asks to be divided; one over 1000 must be.
func TestNoSourceFileIsTooLong(t *testing.T) {
	const limit = 1000
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{"node_modules", "dist", ".git", "bin", "data", "results"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".ts", ".tsx", ".mjs", ".css"}, filepath.Ext(path)) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := bytes.Count(b, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, at most %d", path, n, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// maxCore is what the endpoint core may take on the way to a browser, in brotli: a second on a slow hotel line.
const maxCore = 1_300_000

func TestTheBrowsersCoreIsSmall(t *testing.T) {
	built, err := filepath.Glob("web/dist/assets/conclave*.wasm.br")
	if err != nil || len(built) == 0 {
		t.Skip("the web client is not built: run make build")
	}
	for _, name := range built {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxCore {
			t.Errorf("%s has %d bytes, at most %d", name, info.Size(), maxCore)
		}
	}
}
