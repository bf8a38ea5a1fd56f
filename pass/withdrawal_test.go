package pass_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"conclave/pass"
	"conclave/pass/passtest"
)

func withdraw(t testing.TB, org *passtest.Organisation, counter uint64, keys ...pass.KeyHash) []byte {
	t.Helper()
	b, err := pass.SignWithdrawal(org.Root, &pass.Withdrawal{Organisation: org.ID, Counter: counter, Time: now, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAWithdrawnKeySignsNothing(t *testing.T) {
	j := newJoining(t)
	_, fresh, _ := ed25519.GenerateKey(nil)
	grant, err := pass.SignGrant(j.org.Root, &pass.Grant{Organisation: j.org.ID, Role: pass.RoleEnrolment,
		Key: fresh.Public().(ed25519.PublicKey), NotBefore: now, NotAfter: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	trust, err := j.trust.With(append(j.trust.Grants(), grant), now)
	if err != nil {
		t.Fatal(err)
	}
	old := pass.KeyHashOf(j.org.Enrolment.Public().(ed25519.PublicKey))
	without, counter, err := trust.Without(withdraw(t, j.org, 7, old, pass.KeyHash{1}), 7, now)
	if err != nil || counter != 7 {
		t.Fatalf("%v, counter %d", err, counter)
	}
	if _, err := without.Statement(j.statement, now); code(err) != "statement_signature" {
		t.Errorf("the withdrawn key's statement: %s", code(err))
	}
	s, _ := pass.ParseStatement(j.statement)
	renewed, _ := pass.SignStatement(fresh, s)
	if _, err := without.Statement(renewed, now); err != nil {
		t.Error(err)
	}
	if _, err := without.Pass(j.pass, now); err != nil {
		t.Errorf("another key was withdrawn too: %v", err)
	}
	for name, c := range map[string]struct {
		list  []byte
		least uint64
		code  string
	}{
		"an older one":           {withdraw(t, j.org, 6, old), 7, "withdrawal_old"},
		"another root's":         {withdraw(t, passtest.New(t, "bund.example", now), 8, old), 7, "withdrawal_signature"},
		"another organisation's": {withdraw(t, passtest.New(t, "evil.example", now), 8, old), 7, "organisation_unknown"},
		"garbage":                {[]byte("x"), 7, "withdrawal_malformed"},
		"a role without a key":   {withdraw(t, j.org, 8, old, pass.KeyHashOf(fresh.Public().(ed25519.PublicKey))), 7, "grant_missing"},
	} {
		if _, _, err := trust.Without(c.list, c.least, now); code(err) != c.code {
			t.Errorf("%s: %s, want %s", name, code(err), c.code)
		}
	}
	good := withdraw(t, j.org, 9, old, pass.KeyHash{1}, pass.KeyHash{2})
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		if _, _, err := trust.Without(b, 1, now); err == nil {
			t.Errorf("octet %d: believed", i)
		}
	}
}

func TestAWithdrawalKeepsItsLimits(t *testing.T) {
	org := passtest.New(t, "bund.example", now)
	many := make([]pass.KeyHash, pass.MaxWithdrawn)
	for i := range many {
		many[i][0] = byte(i)
	}
	if b := withdraw(t, org, 1, many...); len(b) > pass.MaxSize {
		t.Errorf("the longest has %d octets", len(b))
	}
	for name, w := range map[string]pass.Withdrawal{
		"no counter":    {Organisation: org.ID, Time: now},
		"too many keys": {Organisation: org.ID, Time: now, Counter: 1, Keys: append(many, pass.KeyHash{0xFF})},
		"nobody's":      {Time: now, Counter: 1},
	} {
		if _, err := pass.SignWithdrawal(org.Root, &w); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func FuzzParseWithdrawal(f *testing.F) {
	org := passtest.New(f, "bund.example", now)
	f.Add(withdraw(f, org, 1, pass.KeyHash{1}, pass.KeyHash{2}))
	f.Add(withdraw(f, org, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, err := pass.ParseWithdrawal(b); err == nil {
			if back, err := w.MarshalBinary(); err != nil || !bytes.Equal(back, b) {
				t.Fatalf("two encodings of one value: %v", err)
			}
		}
	})
}
