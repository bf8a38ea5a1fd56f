package identity

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"conclave"
	"conclave/pass"
)

func organisation(t *testing.T) (dir, root string) {
	t.Helper()
	dir = t.TempDir()
	if _, err := NewOrganisation(dir, "ministry.example", "Ministry", rand.Reader, now); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, RootFile)
}

func load(t *testing.T, dir string, at time.Time) *Organisation {
	t.Helper()
	o, err := LoadOrganisation(dir, at)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheInvestigationKeyIsGrantedAndKeepsItsSync(t *testing.T) {
	dir, root := organisation(t)
	if load(t, dir, now).Investigation() != nil {
		t.Error("there is an investigation key that nobody made")
	}
	var sync []byte
	for _, public := range [][]byte{[]byte("a public key"), []byte("another public key")} {
		if err := GrantInvestigation(dir, root, public, bytes.Repeat(public[:1], 32), now); err != nil {
			t.Fatal(err)
		}
		o := load(t, dir, now)
		if i := o.Investigation(); i == nil || !bytes.Equal(i.Key, public) || len(i.Sync) != 32 || sync != nil && !bytes.Equal(i.Sync, sync) {
			t.Fatalf("investigation %v", i)
		}
		sync = o.Investigation().Sync
		keys, err := Keys(dir, now)
		if err != nil || len(keys) != 5 || keys[4].Role != pass.RoleInvestigation || !keys[4].InUse {
			t.Errorf("%+v, %v", keys, err)
		}
	}
	// It outlives a renewal of the grants, and its secret is for the server alone.
	if err := RenewGrants(dir, root, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if load(t, dir, now.Add(time.Hour)).Investigation() == nil {
		t.Error("a renewal has lost the investigation key")
	}
	if info, err := os.Stat(filepath.Join(dir, syncFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the sync key's file: %v, %v", info.Mode(), err)
	}
	if err := GrantInvestigation(dir, filepath.Join(dir, enrolmentFile), []byte("x"), make([]byte, 32), now); err == nil {
		t.Error("granted without the root key")
	}
}

func TestAWithdrawnWorkingKeyIsReplacedAndWhatItSignedIsRefused(t *testing.T) {
	dir, root := organisation(t)
	before := load(t, dir, now)
	_, point := leafKey(t)
	sign := func(o *Organisation) []byte {
		b, err := pass.SignStatement(o.enrolment, &pass.Statement{Organisation: o.ID, Person: "anna", Name: "Anna", LeafKey: point,
			Assurance: conclave.AssuranceSoftware, NotBefore: now, NotAfter: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	old := sign(before)
	for counter, role := range []pass.Role{pass.RoleEnrolment, pass.RoleRemoval, pass.RoleAdmission, pass.RoleLog} {
		if err := Withdraw(dir, root, role, rand.Reader, now); err != nil {
			t.Fatal(err)
		}
		w, err := pass.ParseWithdrawal(load(t, dir, now).Withdrawn())
		if err != nil || int(w.Counter) != counter+1 || len(w.Keys) != counter+1 {
			t.Fatalf("%+v, %v", w, err)
		}
	}
	after := load(t, dir, now)
	_, err := after.Trust.Statement(old, now)
	wantProblem(t, err, "statement_signature")
	if _, err := after.Trust.Statement(sign(after), now); err != nil {
		t.Error(err)
	}
	// A client that knows the old grants and learns of the list refuses the old statement too.
	trust, err := before.Trust.With(append(before.Trust.Grants(), after.Grants...), now)
	if err != nil {
		t.Fatal(err)
	}
	if trust, _, err = trust.Without(after.Withdrawn(), 4, now); err != nil {
		t.Fatal(err)
	}
	_, err = trust.Statement(old, now)
	wantProblem(t, err, "statement_signature")
	if err := Withdraw(dir, root, pass.RoleInvestigation, rand.Reader, now); err == nil {
		t.Error("an investigation key that is not there was withdrawn")
	}
	keys, err := Keys(dir, now)
	if err != nil || len(keys) != 4 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	var p conclave.Problem
	if err := os.WriteFile(filepath.Join(dir, withdrawnFile), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrganisation(dir, now); !errors.As(err, &p) || p.Code != "withdrawal_malformed" {
		t.Errorf("a damaged list: %v", err)
	}
}
