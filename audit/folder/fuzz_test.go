package folder

import (
	"bytes"
	"testing"

	"conclave/audit"
)

func FuzzParseParts(f *testing.F) {
	f.Add([]byte("{\"record\":257,\"part\":{\"salt\":\"AAAA\",\"person\":\"a\"}}\n{\"record\":259,\"part\":{\"salt\":\"AAAA\"}}\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := parseParts(b, 257)
		if err != nil {
			return
		}
		var again []byte
		for i := audit.Index(257); i < 257+256; i++ {
			if p, ok := parts[i]; ok {
				l, err := line{i, p}.encode()
				if err != nil {
					t.Fatal(err)
				}
				again = append(again, l...)
				delete(parts, i)
			}
		}
		if len(parts) > 0 || !bytes.Equal(again, b) {
			t.Errorf("%q is written as %q", b, again)
		}
	})
}

func FuzzParseOrganisation(f *testing.F) {
	b, _ := (&Organisation{ID: "a.example", Root: make([]byte, 32), Grants: [][]byte{{1, 2}}}).encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOrganisation(b)
		if err != nil {
			return
		}
		if again, err := o.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is written as %q", b, again)
		}
		o.LogKeys()
		o.RootHash()
	})
}
