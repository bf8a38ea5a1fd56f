package member

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"conclave/mls"
)

// hexBytes is a byte string that the vectors write in hexadecimal; null is nil.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == nil {
		*h = nil
		return nil
	}
	d, err := hex.DecodeString(*s)
	*h = d
	return err
}

// readVectors decodes a file of the official vectors.
func readVectors[T any](t *testing.T, name string) []T {
	t.Helper()
	dir := os.Getenv("CONCLAVE_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors" // beside the repository
	}
	b, err := os.ReadFile(filepath.Join(dir, "mls", name))
	if os.IsNotExist(err) {
		t.Skipf("the MLS test vectors are absent: set CONCLAVE_VECTORS to the folder that holds mls/%s", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	var v []T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v) == 0 {
		t.Fatalf("%s holds no vectors", name)
	}
	return v
}

// supported skips the vectors of suites that the standard library cannot do.
func supported(s mls.CipherSuite) bool { return s.Supported() }

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if string(got) != string(want) {
		t.Fatalf("%s: got %x, want %x", what, got, want)
	}
}
