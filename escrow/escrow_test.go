package escrow

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func newKey(t testing.TB) *Key {
	t.Helper()
	k, err := Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func split(t testing.TB, k *Key, holders, threshold int) []*Share {
	t.Helper()
	shares, err := k.Split(holders, threshold, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return shares
}

func TestWhatIsSealedOpensForItsKeyPurposeAndBindingOnly(t *testing.T) {
	k := newKey(t)
	if len(k.Public()) != PublicSize {
		t.Fatalf("a public key has %d bytes", len(k.Public()))
	}
	sealed, err := Seal(k.Public(), []byte("info"), []byte("aad"), []byte("spans"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != len("spans")+Overhead {
		t.Fatalf("sealing adds %d bytes", len(sealed)-len("spans"))
	}
	if got, err := k.Open([]byte("info"), []byte("aad"), sealed); err != nil || string(got) != "spans" {
		t.Fatal(string(got), err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another key":     func() ([]byte, error) { return newKey(t).Open([]byte("info"), []byte("aad"), sealed) },
		"another purpose": func() ([]byte, error) { return k.Open([]byte("other"), []byte("aad"), sealed) },
		"another binding": func() ([]byte, error) { return k.Open([]byte("info"), []byte("other"), sealed) },
		"cut":             func() ([]byte, error) { return k.Open([]byte("info"), []byte("aad"), sealed[:len(sealed)-1]) },
		"nothing":         func() ([]byte, error) { return k.Open([]byte("info"), []byte("aad"), nil) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	for i := 0; i < len(sealed); i += 97 {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Open([]byte("info"), []byte("aad"), changed); err == nil {
			t.Errorf("byte %d changed: opened", i)
		}
	}
	if _, err := Seal(k.Public()[:100], nil, nil, nil); err == nil {
		t.Error("sealed to half a key")
	}
	k.Wipe()
	if _, err := k.Open([]byte("info"), []byte("aad"), sealed); err == nil {
		t.Error("a wiped key opened")
	}
}

func TestAnyThresholdOfHoldersOpenAndNoFewer(t *testing.T) {
	k := newKey(t)
	for holders := 1; holders <= 5; holders++ {
		for threshold := 1; threshold <= holders; threshold++ {
			shares := split(t, k, holders, threshold)
			for set := 1; set < 1<<holders; set++ {
				var some []*Share
				for i, s := range shares {
					if set>>i&1 == 1 {
						some = append(some, s)
					}
				}
				back, err := Combine(some)
				switch {
				case len(some) < threshold:
					if !errors.Is(err, ErrTooFew) {
						t.Fatalf("%d of %d, %d open: %v", len(some), holders, threshold, err)
					}
				case err != nil:
					t.Fatalf("%d of %d, %d open: %v", len(some), holders, threshold, err)
				case back.secret != k.secret:
					t.Fatalf("%d of %d: another key", len(some), holders)
				}
			}
		}
	}
}

func TestSharesThatDoNotGoTogetherAreTold(t *testing.T) {
	a, b := newKey(t), newKey(t)
	mine, other, again := split(t, a, 3, 2), split(t, b, 3, 2), split(t, a, 3, 2)
	if _, err := Combine([]*Share{mine[0], other[1]}); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
	if _, err := Combine([]*Share{mine[0], mine[0]}); !errors.Is(err, ErrTwice) {
		t.Error(err)
	}
	// Two splittings of one key name the same key, but do not go together.
	if _, err := Combine([]*Share{mine[0], again[1]}); !errors.Is(err, ErrShare) {
		t.Error(err)
	}
	mine[1].secret[3] ^= 1
	if _, err := Combine(mine[:2]); !errors.Is(err, ErrShare) {
		t.Error(err)
	}
	for _, bad := range [][2]int{{0, 0}, {3, 4}, {3, 0}, {17, 2}} {
		if _, err := a.Split(bad[0], bad[1], rand.Reader); err == nil {
			t.Errorf("%d holders, %d open: split", bad[0], bad[1])
		}
	}
}

// One share too few fits every secret equally well: for each candidate byte there is exactly one polynomial through it.
func TestTooFewSharesSayNothing(t *testing.T) {
	k := newKey(t)
	const rounds = 256 * 40
	var seen [256]int
	for range rounds {
		shares := split(t, k, 2, 2)
		seen[shares[0].secret[0]]++
	}
	// Chi-square with 255 degrees of freedom: above 400 comes by chance once in 10^8.
	chi := 0.0
	for _, n := range seen {
		d := float64(n) - rounds/256
		chi += d * d / (rounds / 256)
	}
	if chi > 400 {
		t.Errorf("a share's byte is not evenly spread: chi-square %.0f", chi)
	}
}

func TestTheFieldIsTheOneOfFIPS197(t *testing.T) {
	slow := func(a, b byte) byte {
		x := uint16(0)
		for i := range 8 {
			if b>>i&1 == 1 {
				x ^= uint16(a) << i
			}
		}
		for i := 15; i >= 8; i-- {
			if x>>i&1 == 1 {
				x ^= 0x11b << (i - 8)
			}
		}
		return byte(x)
	}
	for a := range 256 {
		for b := range 256 {
			if multiply(byte(a), byte(b)) != slow(byte(a), byte(b)) {
				t.Fatalf("%d times %d", a, b)
			}
		}
		if a > 0 && multiply(byte(a), invert(byte(a))) != 1 {
			t.Fatalf("inverse of %d", a)
		}
	}
	if multiply(0x57, 0x83) != 0xc1 { // FIPS 197, Section 4.2
		t.Error("not that field")
	}
}

func TestAHoldersFileIsReadBackAndGuarded(t *testing.T) {
	k := newKey(t)
	h := &Holder{Organisation: "ministry.example", Name: "Anna Weber", Share: split(t, k, 3, 2)[1]}
	for _, passphrase := range []string{"", "correct horse battery staple"} {
		file, err := h.Marshal([]byte(passphrase), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseHolder(bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")), []byte(passphrase))
		if err != nil {
			t.Fatal(err)
		}
		if back.Name != h.Name || back.Organisation != h.Organisation || back.Share.secret != h.Share.secret || back.Share.Number != 2 ||
			back.Share.Threshold != 2 || back.Share.Holders != 3 || back.Share.Key != k.ID() {
			t.Error("another file came back")
		}
		if passphrase != "" {
			if _, err := ParseHolder(file, nil); !errors.Is(err, ErrLocked) {
				t.Error(err)
			}
			if _, err := ParseHolder(file, []byte("guess")); !errors.Is(err, ErrPassphrase) {
				t.Error(err)
			}
		}
		for old, changed := range map[string]string{
			"ministry.example": "ministry.exemple", "share 2 of 3, 2 open": "share 3 of 3, 2 open", "conclave-holder 1": "conclave-holder 2",
			"2 open": "1 open",
		} {
			if _, err := ParseHolder([]byte(strings.Replace(string(file), old, changed, 1)), []byte(passphrase)); err == nil {
				t.Errorf("%q for %q: read", changed, old)
			}
		}
	}
	for _, text := range []string{fmt.Sprint(h.Share), fmt.Sprintf("%+v", h.Share), fmt.Sprintf("%x", k), fmt.Sprintf("%#v", k)} {
		if strings.Contains(text, hex.EncodeToString(h.Share.secret[:4])) || len(text) > 60 {
			t.Errorf("prints as %q", text)
		}
	}
	h.Name = "two\nlines"
	if _, err := h.Marshal(nil, rand.Reader); err == nil {
		t.Error("a name with a line end was written")
	}
}

// counting is a reader of known bytes: vectors need known chance.
type counting byte

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(*c)
		*c++
	}
	return len(b), nil
}

type vector struct {
	Holders   int      `json:"holders"`
	Threshold int      `json:"threshold"`
	Key       string   `json:"key"`   // id
	Files     []string `json:"files"` // holders' files
	Info, AAD string   `json:",omitempty"`
	Sealed    string   `json:"sealed"` // by an earlier version
	Plaintext string   `json:"plaintext"`
}

// What an earlier version has sealed and split must open for ever: the record may be read after years.
func TestVectorsOfEarlierVersionsOpen(t *testing.T) {
	const path = "testdata/vectors.json"
	if os.Getenv("CONCLAVE_UPDATE") != "" {
		writeVectors(t, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors) < 2 {
		t.Fatal("no vectors", err)
	}
	for _, v := range vectors {
		var shares []*Share
		for _, f := range v.Files {
			h, err := ParseHolder([]byte(f), []byte("passphrase"))
			if err != nil {
				t.Fatal(err)
			}
			shares = append(shares, h.Share)
		}
		key, err := Combine(shares[len(shares)-v.Threshold:])
		if err != nil {
			t.Fatal(err)
		}
		if id := key.ID(); hex.EncodeToString(id[:]) != v.Key {
			t.Error("another key")
		}
		sealed, err := hex.DecodeString(v.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := key.Open([]byte(v.Info), []byte(v.AAD), sealed); err != nil || string(got) != v.Plaintext {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func writeVectors(t *testing.T, path string) {
	var out []vector
	for i, v := range []vector{{Holders: 1, Threshold: 1}, {Holders: 3, Threshold: 2}, {Holders: 5, Threshold: 4}} {
		chance := counting(i * 7)
		k, err := Generate(&chance)
		if err != nil {
			t.Fatal(err)
		}
		shares, err := k.Split(v.Holders, v.Threshold, &chance)
		if err != nil {
			t.Fatal(err)
		}
		id := k.ID()
		v.Key, v.Info, v.AAD, v.Plaintext = hex.EncodeToString(id[:]), "info", "aad", "who spoke when"
		for j, s := range shares {
			file, err := (&Holder{Organisation: "ministry.example", Name: "Ünal Örs", Share: s}).Marshal([]byte("passphrase")[:10*(j&1)], &chance)
			if err != nil {
				t.Fatal(err)
			}
			v.Files = append(v.Files, string(file))
		}
		sealed, err := Seal(k.Public(), []byte(v.Info), []byte(v.AAD), []byte(v.Plaintext))
		if err != nil {
			t.Fatal(err)
		}
		v.Sealed = hex.EncodeToString(sealed)
		out = append(out, v)
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseHolder(f *testing.F) {
	k := newKey(f)
	for _, s := range split(f, k, 3, 2) {
		file, err := (&Holder{Organisation: "ministry.example", Name: "A", Share: s}).Marshal(nil, rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add([]byte(strings.Replace(holderHead, "1", "2", 1)))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, err := ParseHolder(file, nil) // without a passphrase: guessing costs seconds by design
		if err != nil {
			return
		}
		again, err := h.Marshal(nil, rand.Reader)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if back, err := ParseHolder(again, nil); err != nil || back.Share.secret != h.Share.secret || back.Share.Number != h.Share.Number {
			t.Fatal("another share came back")
		}
	})
}

func BenchmarkSealLedger(b *testing.B) {
	k := newKey(b)
	public, plain := k.Public(), make([]byte, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Seal(public, []byte("info"), nil, plain); err != nil {
			b.Fatal(err)
		}
	}
}
