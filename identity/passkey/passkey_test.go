package passkey_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"conclave"
	"conclave/identity/passkey"
	"conclave/identity/passkey/passkeytest"
)

var (
	site      = passkey.Site{ID: "meet.example", Origins: []string{"https://meet.example", "https://meet.example:8443"}}
	challenge = bytes.Repeat([]byte{7}, 32)
)

func code(err error) string {
	var p conclave.Problem
	if errors.As(err, &p) && p.Fix != "" {
		return p.Code
	}
	return fmt.Sprintf("no problem: %v", err)
}

func metadata(t testing.TB, m *passkeytest.Maker, status string) *passkey.Metadata {
	t.Helper()
	out, err := passkey.ParseMetadata(m.Metadata(t, status))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOnlyAttestedHardwareThatKeepsItsKeyIsHardware(t *testing.T) {
	maker, other := passkeytest.NewMaker(t), passkeytest.NewMaker(t)
	batch, forged := passkeytest.NewMaker(t), passkeytest.NewMaker(t)
	batch.Batch, forged.Batch = true, true
	unknown := passkeytest.NewMaker(t)
	unknown.AAGUID = [16]byte{9}
	for name, c := range map[string]struct {
		maker    *passkeytest.Maker
		metadata *passkey.Metadata
		backup   bool
		attested bool
		want     conclave.Assurance
	}{
		"hardware":                     {maker, metadata(t, maker, ""), false, true, conclave.AssuranceHardware},
		"hardware whose key may leave": {maker, metadata(t, maker, ""), true, true, conclave.AssuranceSoftware},
		"no metadata":                  {maker, nil, false, false, conclave.AssuranceSoftware},
		"no attestation":               {nil, metadata(t, maker, ""), false, false, conclave.AssuranceSoftware},
		"hardware of one batch":        {batch, metadata(t, batch, ""), false, true, conclave.AssuranceHardware},
		"a forged batch":               {forged, metadata(t, batch, ""), false, false, conclave.AssuranceSoftware},
		"a forged maker":               {other, metadata(t, maker, ""), false, false, conclave.AssuranceSoftware},
		"a kind that is not known":     {unknown, metadata(t, maker, ""), false, false, conclave.AssuranceSoftware},
		"a kind that was broken":       {maker, metadata(t, maker, "USER_KEY_PHYSICAL_COMPROMISE"), false, false, conclave.AssuranceSoftware},
		"a kind that was certified":    {maker, metadata(t, maker, "FIDO_CERTIFIED_L1"), false, true, conclave.AssuranceHardware},
	} {
		a := passkeytest.New(t, site.ID, site.Origins[0], c.maker)
		a.BackupEligible = c.backup
		got, err := passkey.Register(a.Create(challenge), challenge, site, c.metadata)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Attested != c.attested || got.Assurance() != c.want || got.BackupEligible != c.backup || (got.Model == "Test Key") != c.attested {
			t.Errorf("%s: attested %v, assurance %d, model %q", name, got.Attested, got.Assurance(), got.Model)
		}
		next, err := got.Assert(a.Get(challenge), challenge, site)
		if err != nil || next.Count != got.Count+1 {
			t.Errorf("%s: assert: %v", name, err)
		}
	}
}

func TestWhatAPasskeySaysWronglyIsRefusedWithItsFix(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*passkeytest.Authenticator)
		code   string
	}{
		"nobody was verified":    {func(a *passkeytest.Authenticator) { a.Unverified = true }, "passkey_unverified"},
		"another page asked":     {func(a *passkeytest.Authenticator) { a.Origin = "https://evil.example" }, "passkey_site"},
		"a subdomain asked":      {func(a *passkeytest.Authenticator) { a.Origin = "https://x.meet.example" }, "passkey_site"},
		"for another site":       {func(a *passkeytest.Authenticator) { a.Site = "evil.example" }, "passkey_refused"},
		"without encryption":     {func(a *passkeytest.Authenticator) { a.Origin = "http://meet.example" }, "passkey_site"},
		"another passkey":        {func(a *passkeytest.Authenticator) { a.ID = []byte("another") }, "passkey_other"},
		"a counter that went on": {func(a *passkeytest.Authenticator) { a.Count = 3 }, "passkey_copied"},
		"a key that may leave":   {func(a *passkeytest.Authenticator) { a.BackupEligible = true }, "passkey_refused"},
	} {
		a := passkeytest.New(t, site.ID, site.Origins[0], nil)
		a.Count = 10
		got, err := passkey.Register(a.Create(challenge), challenge, site, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.change(a)
		if _, err := got.Assert(a.Get(challenge), challenge, site); code(err) != c.code {
			t.Errorf("assert, %s: got %s, want %s", name, code(err), c.code)
		}
		if c.code == "passkey_other" || c.code == "passkey_copied" || a.BackupEligible {
			continue // nothing is wrong with it as a new one
		}
		if _, err := passkey.Register(a.Create(challenge), challenge, site, nil); code(err) != c.code {
			t.Errorf("register, %s: got %s, want %s", name, code(err), c.code)
		}
	}
	a := passkeytest.New(t, site.ID, site.Origins[0], nil)
	got, err := passkey.Register(a.Create(challenge), challenge, site, nil)
	if err != nil {
		t.Fatal(err)
	}
	stale := bytes.Repeat([]byte{8}, 32)
	if _, err := got.Assert(a.Get(stale), challenge, site); code(err) != "passkey_stale" {
		t.Errorf("another challenge: %s", code(err))
	}
	if _, err := got.Assert(a.Create(challenge), challenge, site); err == nil {
		t.Error("a registration passed for an assertion")
	}
	if _, err := passkey.Register(a.Get(challenge), challenge, site, nil); err == nil {
		t.Error("an assertion passed for a registration")
	}
	good := a.Get(challenge)
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		next, err := got.Assert(b, challenge, site)
		// What the browser says beside the ceremony (the attachment, extensions' names) is not signed and not used.
		if err == nil && next.Count != a.Count {
			t.Errorf("octet %d: believed", i)
		}
	}
	for _, b := range []string{"", "{}", "null", strings.Repeat("[", 1000), strings.Repeat(`{"a":`, 100), strings.Repeat(" ", passkey.MaxResponse+1)} {
		if _, err := got.Assert([]byte(b), challenge, site); err == nil {
			t.Errorf("%.10q was believed", b)
		}
	}
}

func TestMetadataThatCannotBeReadAreRefused(t *testing.T) {
	maker := passkeytest.NewMaker(t)
	for name, text := range map[string]string{
		"nothing":            "",
		"no JSON":            "{",
		"no authenticators":  `{"entries":[]}`,
		"nobody's":           strings.Replace(string(maker.Metadata(t, "")), "c0010000", "00000000", 1),
		"no date":            strings.Replace(string(maker.Metadata(t, "")), "2020-01-01", "", 1),
		"a broken signature": "eyJhbGciOiJFUzI1NiJ9.eyJlbnRyaWVzIjpbXX0.AAAA",
	} {
		if _, err := passkey.ParseMetadata([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	path := filepath.Join(t.TempDir(), "metadata.json")
	if err := os.WriteFile(path, maker.Metadata(t, ""), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := passkey.ReadMetadata(path); err != nil || m.Len() != 1 {
		t.Error(err)
	}
	if _, err := passkey.ReadMetadata(path + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestACredentialIsNotPrinted(t *testing.T) {
	c := passkey.Credential{ID: []byte("secret-id"), PublicKey: []byte("secret-key")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{c, &c} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "secret") || strings.Contains(s, "736563") {
				t.Errorf("%s: %s", verb, s)
			}
		}
	}
}

func FuzzRegister(f *testing.F) {
	a := passkeytest.New(f, site.ID, site.Origins[0], passkeytest.NewMaker(f))
	m := metadata(f, passkeytest.NewMaker(f), "")
	f.Add(a.Create(challenge))
	f.Add(a.Get(challenge))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := passkey.Register(b, challenge, site, m)
		if err == nil && len(c.ID) == 0 {
			t.Fatal("a passkey without an id")
		}
	})
}

func FuzzAssert(f *testing.F) {
	a := passkeytest.New(f, site.ID, site.Origins[0], nil)
	c, err := passkey.Register(a.Create(challenge), challenge, site, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.Get(challenge))
	f.Add(a.Get([]byte("another")))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = c.Assert(b, challenge, site) })
}
