package identity

import (
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
)

// enrols enrols a device of anna.weber's by a link.
func (w world) enrols(t *testing.T, token Token, name string, at time.Time) Device {
	t.Helper()
	_, e := enrolment(t, token)
	e.DeviceName = name
	_, d, err := w.Enrol(t.Context(), e, at)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w world) linkAt(t *testing.T, at time.Time) Token {
	t.Helper()
	token, err := w.IssueToken(t.Context(), "anna.weber", rand.Reader, at)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// told returns what waits for a device, as code, device and whatever else is said of it.
func (w world) told(t *testing.T, d Device) (out []string) {
	t.Helper()
	notices, err := w.Notices(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notices {
		if n.Link != devicesPage || n.Notice.Fix == "" {
			t.Errorf("%s leads to %q, its fix is %q", n.Notice.Code, n.Link, n.Notice.Fix)
		}
		text := n.Notice.Code
		for _, name := range []string{"device", "date", "count"} {
			if v := n.Notice.Args[name]; v != "" {
				text += " " + v
			}
		}
		out = append(out, text)
	}
	return out
}

func TestWhoseFirstDeviceWasAThiefsIsToldOnTheirOwn(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	thiefs := w.enrols(t, w.token(t), "Chrome, Windows", now)
	later := now.Add(50 * time.Hour)
	own := w.enrols(t, w.linkAt(t, later), "Chrome, Windows", later)
	want := []string{"device_before Chrome, Windows " + now.UTC().Format(time.RFC3339)}
	if got := w.told(t, own); !slices.Equal(got, want) {
		t.Fatalf("told %q", got)
	}
	// The thief reads it away on their own device, and takes that out of use: the person is told all the same.
	notices, _ := w.Notices(ctx, own.ID)
	if err := w.Seen(ctx, thiefs.ID, notices[0].ID); err != nil {
		t.Error(err)
	}
	if err := w.RevokeDevice(ctx, thiefs.ID, later); err != nil {
		t.Error(err)
	}
	if got := w.told(t, own); !slices.Equal(got, want) {
		t.Errorf("afterwards told %q", got)
	}
	if err := w.Seen(ctx, own.ID, notices[0].ID); err != nil || len(w.told(t, own)) != 0 {
		t.Error("it is not read where it was told", err)
	}
	// Of what is out of use nobody is told.
	third := w.enrols(t, w.linkAt(t, later), "Phone", later.Add(time.Hour))
	if got := w.told(t, third); len(got) != 1 {
		t.Errorf("a third device is told %q", got)
	}
	// Nor of what cannot come back.
	years := now.AddDate(3, 0, 0)
	if got := w.told(t, w.enrols(t, w.linkAt(t, years), "New phone", years)); len(got) != 0 {
		t.Errorf("years later told %q", got)
	}
}

func TestAThiefWhoEnrolsManyDevicesBuriesNoNotice(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	for i := range 7 {
		w.enrols(t, w.token(t), fmt.Sprint("Early ", i), now.Add(time.Duration(i)*time.Minute))
	}
	at := now.Add(time.Hour)
	own := w.enrols(t, w.token(t), "Mine", at)
	want := make([]string, 0, maxTold+1)
	for i := 6; i > 6-maxTold; i-- {
		want = append(want, fmt.Sprintf("device_before Early %d %s", i, now.Add(time.Duration(i)*time.Minute).UTC().Format(time.RFC3339)))
	}
	want = append(want, "device_before_more 4")
	if got := w.told(t, own); !slices.Equal(got, want) {
		t.Fatalf("told %q", got)
	}
	for i := range maxNotices + 5 {
		w.enrols(t, w.token(t), fmt.Sprint("Late ", i), at.Add(time.Duration(i+1)*time.Second))
	}
	for range maxNotices {
		if err := w.Notify(ctx, "anna.weber", conclave.DeviceID{}, Notice{Notice: problem("call_refused", "use_app"), Link: devicesPage}, at.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	got := w.told(t, own)
	if len(got) != maxNotices || !slices.Equal(got[:len(want)], want) || got[len(want)] != "device_enrolled Late 0" {
		t.Errorf("after the flood %d: %q", len(got), got)
	}
}

func TestADeviceIsToldOnWhichOneItsLinkWasMade(t *testing.T) {
	w := newWorld(t)
	// A thief has used the person's link, and sends them one that was made on the device enrolled with it: to the person it
	// looks like the administrator's.
	thiefs := w.enrols(t, w.token(t), "Anna's laptop", now)
	for i := range 4 {
		w.enrols(t, w.token(t), fmt.Sprint("More ", i), now.Add(time.Minute))
	}
	token, err := w.IssueTokenOn(t.Context(), thiefs, rand.Reader, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	own := w.enrols(t, token, "Mine", now.Add(time.Hour))
	got := w.told(t, own)
	if len(got) != maxTold+1 || got[0] != "device_link_made Anna's laptop "+now.UTC().Format(time.RFC3339) || got[maxTold] != "device_before_more 2" {
		t.Errorf("told %q", got)
	}
}

func TestOfEachDeviceIsKeptByWhichLinkItWasEnrolled(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	kept := func(token Token, err error) LinkKind {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		d, err := w.Device(ctx, w.enrols(t, token, "Laptop", now).ID)
		if err != nil || d.Link == nil {
			t.Fatalf("nothing is kept: %v", err)
		}
		return *d.Link
	}
	if got := kept(w.IssueToken(ctx, "anna.weber", rand.Reader, now)); got != (LinkKind{By: SourceAdministrator}) {
		t.Errorf("the administrator's: %+v", got)
	}
	if got := kept(w.IssueTokenFor(ctx, "anna.weber", UseRoom, rand.Reader, now)); got != (LinkKind{By: SourceAdministrator, Use: UseRoom}) {
		t.Errorf("for a room: %+v", got)
	}
	if got := kept(w.IssueTokenSignedIn(ctx, "anna.weber", rand.Reader, now)); got != (LinkKind{By: SourceSignIn}) {
		t.Errorf("after a sign-in: %+v", got)
	}
	first := w.enrols(t, w.token(t), "First", now)
	if got := kept(w.IssueTokenOn(ctx, first, rand.Reader, now)); got != (LinkKind{By: SourceDevice, Device: first.ID}) {
		t.Errorf("on an own device: %+v", got)
	}
	entries, err := w.log.Read(ctx, 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e audit.Entry) bool {
		return e.Record.Kind == audit.KindLinkIssued && slices.Equal(e.Record.Codes, []string{"own_device"}) && e.Record.Device == first.ID
	}) {
		t.Error("no record says on which device the link was made")
	}
}
