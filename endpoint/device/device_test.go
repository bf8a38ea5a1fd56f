package device

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/server/servertest"
)

func linkTo(t *testing.T, w *servertest.World, person conclave.PersonID) Link {
	t.Helper()
	l, err := ParseLink(fmt.Sprintf("%s/m/%s#e=%s&r=%s", w.URL, conclave.MeetingID{7}.Text(), w.Link(person), w.Organisation.RootHash()))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantProblem(t *testing.T, err error, code string) {
	t.Helper()
	var p conclave.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("got %v, want the problem %s", err, code)
	}
}

func TestADeviceIsEnrolledKeptAndReadAgain(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	link := linkTo(t, w, "anna")
	d, err := Enrol(context.Background(), http.DefaultClient, link, "laptop", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if name, unit, until := d.Person(); name != "Anna Weber" || unit != "Test" || time.Until(until) < 6*24*time.Hour {
		t.Errorf("enrolled as %s, %s, until %v", name, unit, until)
	}
	_, err = Enrol(context.Background(), http.DefaultClient, link, "another", time.Now())
	wantProblem(t, err, "link_used")

	file := filepath.Join(t.TempDir(), "key")
	if err := d.Save(file); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v", info.Mode())
	}
	e, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Statement) != string(d.Statement) || string(e.Identity().Signer.Public()) != string(d.Identity().Signer.Public()) ||
		e.Organisation != d.Organisation || !e.Root.Equal(d.Root) {
		t.Error("what was read is not what was kept")
	}
	if text := fmt.Sprintf("%v %+v %#v", d, d, d); strings.Contains(text, fmt.Sprintf("%d %d %d", d.scalar[0], d.scalar[1], d.scalar[2])) {
		t.Error("the key prints")
	}
}

func TestAKeyFileThatOthersMayReadOrThatIsDamagedIsRefused(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "")
	w.AddPerson("ben", "")
	d, err := Enrol(context.Background(), http.DefaultClient, linkTo(t, w, "anna"), "laptop", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := Enrol(context.Background(), http.DefaultClient, linkTo(t, w, "ben"), "laptop", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	for name, change := range map[string]func(){
		"readable by others":              func() { os.Chmod(file, 0o640) },
		"cut short":                       func() { os.Truncate(file, 100) },
		"empty":                           func() { os.Truncate(file, 0) },
		"huge":                            func() { os.Truncate(file, maxFile+1) },
		"the statement of another device": func() { d.Statement = other.Statement; d.Save(file) },
	} {
		kept := d.Statement
		if err := d.Save(file); err != nil {
			t.Fatal(err)
		}
		change()
		if _, err := Load(file); !errors.Is(err, ErrFile) {
			t.Errorf("%s: got %v", name, err)
		}
		d.Statement = kept
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

func TestAServerWhoseRootIsNotTheLinksIsNotEnrolledWith(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "")
	link := linkTo(t, w, "anna")
	link.Pin = "AAAAAAAAAAAAAAAAAAAAAA"
	_, err := Enrol(context.Background(), http.DefaultClient, link, "laptop", time.Now())
	wantProblem(t, err, "root_mismatch")
}

func TestAServerThatAnswersNonsenseEnrolsNobody(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing": "", "no JSON": "hello", "no fields": "{}", "long": strings.Repeat("[", maxReply+10),
		"a statement without a root": `{"statement":"AQID"}`,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
		_, err := Enrol(context.Background(), http.DefaultClient, Link{Server: s.URL, Token: "t", Pin: "p"}, "laptop", time.Now())
		if err == nil {
			t.Errorf("%s: enrolled", name)
		}
		s.Close()
	}
}

func TestAStatementIsRenewedWhenItNearsItsEndAndNotBefore(t *testing.T) {
	later := time.Now().Add(5 * 24 * time.Hour)
	now := time.Now
	w := servertest.StartWith(t, servertest.Options{Now: func() time.Time { return now() }})
	w.AddPerson("anna", "")
	d, err := Enrol(context.Background(), http.DefaultClient, linkTo(t, w, "anna"), "laptop", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if renewed, err := d.Renew(context.Background(), http.DefaultClient, w.URL, time.Now()); renewed || err != nil {
		t.Errorf("a fresh one: %v, %v", renewed, err)
	}
	now = func() time.Time { return later }
	before := d.Statement
	if renewed, err := d.Renew(context.Background(), http.DefaultClient, w.URL, later); !renewed || err != nil {
		t.Fatalf("two days before its end: %v, %v", renewed, err)
	}
	if _, _, until := d.Person(); until.Sub(later) < 6*24*time.Hour || string(before) == string(d.Statement) {
		t.Errorf("renewed until %v", until)
	}
}

func TestLinksAreReadAsTheyArePrinted(t *testing.T) {
	good := "https://conf.example/m/AAECAwQFBgcICQoLDA0ODw#e=dG9rZW4&r=cGlu"
	l, err := ParseLink(" " + good + "\n")
	if err != nil || l.Server != "https://conf.example" || l.Token != "dG9rZW4" || l.Pin != "cGlu" || l.Meeting[1] != 1 {
		t.Errorf("got %+v, %v", l, err)
	}
	if l, err := ParseLink("http://localhost:8080/m/AAECAwQFBgcICQoLDA0ODw"); err != nil || l.Token != "" {
		t.Errorf("an address alone: %+v, %v", l, err)
	}
	if l, err := ParseLink("https://conf.example/devices#e=dG9rZW4&r=cGlu"); err != nil || l.Token != "dG9rZW4" || l.Meeting != (conclave.MeetingID{}) || l.Guest {
		t.Errorf("one for a further device: %+v, %v", l, err)
	}
	for _, bad := range []string{"", "https://conf.example/devices", "https://conf.example/devices/x#e=dG9rZW4&r=cGlu", "https://conf.example/", "ftp://conf.example/m/AAECAwQFBgcICQoLDA0ODw", "https:///m/AAECAwQFBgcICQoLDA0ODw",
		"https://conf.example/m/short", "https://conf.example/m/AAECAwQFBgcICQoLDA0ODw#e=onlytoken", "https://conf.example/m/AAECAwQFBgcICQoLDA0ODw/x"} {
		if _, err := ParseLink(bad); err == nil {
			t.Errorf("%q was taken for a link", bad)
		}
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add("https://conf.example/m/AAECAwQFBgcICQoLDA0ODw#e=dG9rZW4&r=cGlu")
	f.Add("http://[::1]:8080/m/AAECAwQFBgcICQoLDA0ODw")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLink(text)
		if err != nil {
			return
		}
		if (l.Token == "") != (l.Pin == "") || !strings.HasPrefix(l.Server, "http") {
			t.Errorf("%q became %+v", text, l)
		}
	})
}
