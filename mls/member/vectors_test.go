package member

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"conclave/mls"
	"conclave/mls/internal/vectors"
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
	path := filepath.Join(vectors.Folder(t, "mls"), name)
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		vectors.Absent(t, "%s is not here", path)
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
