// Package vectors loads the official test vectors of the MLS working group for tests.
package vectors

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Hex is a byte string that is written in hexadecimal.
type Hex []byte

// UnmarshalJSON decodes.
func (h *Hex) UnmarshalJSON(b []byte) error {
	s, err := strconv.Unquote(string(b))
	if err != nil {
		return err
	}
	*h, err = hex.DecodeString(s)
	return err
}

// MarshalJSON encodes.
func (h Hex) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, hex.EncodeToString(h)), nil
}

// Absent ends a test whose vectors are not there: it is skipped, but on a build server (CI is set) it fails, for what is
// never run proves nothing.
func Absent(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Folder returns where the vectors of a kind ("mls", "sframe") lie; if they are not there the test is Absent's.
func Folder(t testing.TB, kind string) string {
	t.Helper()
	root := os.Getenv("CONCLAVE_VECTORS")
	if root == "" {
		root = filepath.Join(moduleRoot(t), "..", "shared", "vectors")
	}
	dir := filepath.Join(root, kind)
	if _, err := os.Stat(dir); err != nil {
		Absent(t, "the official %s test vectors are not here: set CONCLAVE_VECTORS to the folder that holds %s/", strings.ToUpper(kind), kind)
	}
	return dir
}

// Load decodes mls/<name>.json into v; if the vectors are not there the test is Absent's.
func Load(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Folder(t, "mls"), name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// moduleRoot finds the folder that holds go.mod above the test's.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = up
	}
}
