package pass_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"conclave/pass"
	"conclave/pass/passtest"
)

func TestWhatIsVouchedForIsWhatIsSigned(t *testing.T) {
	j := newJoining(t)
	s, err := pass.ParseStatement(j.statement)
	if err != nil {
		t.Fatal(err)
	}
	content, err := s.Content(j.org.Enrolment.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pass.SignStatement(j.org.Enrolment, s)
	if err != nil || !bytes.HasPrefix(signed, content) || len(signed) != len(content)+64 {
		t.Fatalf("content of %d octets, statement of %d: %v", len(content), len(signed), err)
	}
	back, err := pass.Vouched(content, s.LeafKey)
	if err != nil || back.Name != s.Name || back.Signature != nil {
		t.Error(err)
	}
	if _, err := pass.Vouched(content, passtest.Point(passtest.LeafKey(t))); code(err) != "statement_key" {
		t.Errorf("another key's: %s", code(err))
	}
	for _, bad := range [][]byte{nil, content[:len(content)-1], append(bytes.Clone(content), 0), make([]byte, pass.MaxSize)} {
		if _, err := pass.Vouched(bad, s.LeafKey); code(err) != "statement_malformed" {
			t.Errorf("%d octets: %s", len(bad), code(err))
		}
	}
	challenges := map[[32]byte]bool{pass.VouchChallenge(content): true}
	for i := range content {
		b := bytes.Clone(content)
		b[i] ^= 1
		challenges[pass.VouchChallenge(b)] = true
	}
	if len(challenges) != len(content)+1 {
		t.Error("two contents have one challenge")
	}
}
