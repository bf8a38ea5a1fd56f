package sframe

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type sframeVector struct {
	Suite                        Suite `json:"cipher_suite"`
	KID, CTR                     uint64
	BaseKey                      hexBytes `json:"base_key"`
	Salt                         hexBytes `json:"sframe_salt"`
	Nonce, AAD, Metadata, PT, CT hexBytes
}

type ctrVector struct {
	Suite              Suite    `json:"cipher_suite"`
	Key                hexBytes `json:"key"`
	Nonce, AAD, PT, CT hexBytes
	EncKey             hexBytes `json:"enc_key"`
	AuthKey            hexBytes `json:"auth_key"`
}

// readVectors reads a file of the working group's vectors, which are not part of the project.
func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	dir := os.Getenv("CONCLAVE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, "sframe", name))
	if os.IsNotExist(err) {
		absent := t.Skipf
		if os.Getenv("CI") != "" {
			absent = t.Fatalf // what is never run proves nothing
		}
		absent("no vectors in %s: set CONCLAVE_VECTORS to a folder with sframe/%s of github.com/sframe-wg/sframe", dir, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func TestHeadersMatchTheVectors(t *testing.T) {
	var file struct {
		Header []struct {
			KID, CTR uint64
			Encoded  hexBytes
		}
	}
	readVectors(t, "test-vectors.json", &file)
	if len(file.Header) != 289 {
		t.Fatalf("%d vectors", len(file.Header))
	}
	for _, v := range file.Header {
		h := Header{v.KID, v.CTR}
		if got := h.Append(nil); !bytes.Equal(got, v.Encoded) {
			t.Errorf("%+v: got %x, want %x", h, got, []byte(v.Encoded))
		}
		if back, n, err := ParseHeader(append(v.Encoded, 0xff)); err != nil || back != h || n != len(v.Encoded) {
			t.Errorf("%x: got %+v, %d, %v", []byte(v.Encoded), back, n, err)
		}
		for i := range v.Encoded {
			if _, _, err := ParseHeader(v.Encoded[:i]); err == nil {
				t.Errorf("%x: its first %d octets are a header", []byte(v.Encoded), i)
			}
		}
	}
}

func TestCounterModeMatchesTheVectors(t *testing.T) {
	var file struct {
		AES128 []ctrVector `json:"aes_ctr_hmac"`
		AES256 []ctrVector `json:"aes_256_ctr_hmac"`
	}
	readVectors(t, "test-vectors.json", &file)
	vectors := append(file.AES128, file.AES256...)
	if len(vectors) != 6 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		p, err := v.Suite.parameters()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(bytes.Clone(v.EncKey), v.AuthKey...), v.Key) || len(v.EncKey) != p.aesKey || len(v.AuthKey) != p.macKey {
			t.Errorf("suite %d: keys of %d and %d octets", v.Suite, len(v.EncKey), len(v.AuthKey))
		}
		k, err := newCipher(p, v.Key, [nonceSize]byte{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		k.nonce = [nonceSize]byte(v.Nonce)
		k.aad = v.AAD
		ct := make([]byte, len(v.PT))
		k.xor(ct, v.PT)
		if got := append(ct, k.sum(ct)...); !bytes.Equal(got, v.CT) {
			t.Errorf("suite %d: got %x, want %x", v.Suite, got, []byte(v.CT))
		}
	}
}

func TestFramesMatchTheVectors(t *testing.T) {
	var file struct {
		SFrame []sframeVector `json:"sframe"`
	}
	readVectors(t, "test-vectors.json", &file)
	var more struct {
		SFrame []sframeVector `json:"sframe_aes_256_ctr_hmac"`
	}
	readVectors(t, "test-vectors-aes256.json", &more)
	vectors := append(file.SFrame, more.SFrame...)
	if len(vectors) != 8 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		k, err := NewKey(v.Suite, v.BaseKey, v.KID)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(k.salt[:], v.Salt) {
			t.Errorf("suite %d: salt %x, want %x", v.Suite, k.salt, []byte(v.Salt))
		}
		got := k.Seal(nil, v.Metadata, v.PT, v.CTR)
		if !bytes.Equal(got, v.CT) || !bytes.Equal(k.nonce[:], v.Nonce) || !bytes.Equal(k.aad, v.AAD) {
			t.Errorf("suite %d: got %x, want %x", v.Suite, got, []byte(v.CT))
		}
		h, n, err := ParseHeader(v.CT)
		if err != nil || h.KID != v.KID || h.CTR != v.CTR {
			t.Fatalf("suite %d: header %+v, %v", v.Suite, h, err)
		}
		if pt, err := k.Open(nil, v.Metadata, v.CT, h, n); err != nil || !bytes.Equal(pt, v.PT) {
			t.Errorf("suite %d: opened %x, %v", v.Suite, pt, err)
		}
		if len(v.CT) != n+len(v.PT)+v.Suite.Overhead() {
			t.Errorf("suite %d: overhead %d", v.Suite, v.Suite.Overhead())
		}
		for i := range v.CT {
			bad := bytes.Clone(v.CT)
			bad[i] ^= 1
			if h, n, err := ParseHeader(bad); err == nil {
				if _, err := k.Open(nil, v.Metadata, bad, h, n); err == nil {
					t.Errorf("suite %d: octet %d was changed, and it opened", v.Suite, i)
				}
			}
		}
		if _, err := k.Open(nil, v.Metadata[1:], v.CT, h, n); err == nil {
			t.Errorf("suite %d: opened under other metadata", v.Suite)
		}
		for i := n; i < len(v.CT); i++ {
			if _, err := k.Open(nil, v.Metadata, v.CT[:i], h, n); err == nil {
				t.Errorf("suite %d: opened %d octets of it", v.Suite, i)
			}
		}
	}
}
