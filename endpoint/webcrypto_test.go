package endpoint

import (
	"bytes"
	"testing"

	"conclave/gate"
	"conclave/mls"
	"conclave/pass/passtest"
)

func TestSignaturesKeepTheirMeaningInWebCryptosForm(t *testing.T) {
	key := passtest.LeafKey(t)
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := mls.NewSigner(gate.Suite, scalar)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 { // some with leading zeros, some with the highest bit
		der, err := signer.Sign([]byte{byte(i), byte(i >> 8)})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := RawFromSignature(der)
		if err != nil {
			t.Fatal(err)
		}
		back, err := SignatureFromRaw(raw)
		if err != nil || !bytes.Equal(back, der) {
			t.Fatalf("signature %d: %x became %x, %v", i, der, back, err)
		}
	}
}

func FuzzRawFromSignature(f *testing.F) {
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 7, 2, 2, 0, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, der []byte) {
		raw, err := RawFromSignature(der)
		if err != nil {
			return
		}
		if back, err := SignatureFromRaw(raw); err != nil || !bytes.Equal(back, der) {
			t.Fatalf("%x is taken, but is not the one form: %x, %v", der, back, err)
		}
	})
}
