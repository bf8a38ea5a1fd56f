package server_test

import (
	"crypto/rand"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/escrow"
	"conclave/exposure"
	"conclave/identity"
	"conclave/server/kept"
	"conclave/server/servertest"
	"conclave/signal"
	"conclave/store"
)

// startInvestigated starts a server of an organisation with an investigation key.
func startInvestigated(t *testing.T) (*servertest.World, *escrow.Key, store.Store) {
	return startInvestigatedWith(t, func(st store.Store) store.Store { return st })
}

// startInvestigatedWith starts it over a store that is wrapped.
func startInvestigatedWith(t *testing.T, wrap func(store.Store) store.Store) (*servertest.World, *escrow.Key, store.Store) {
	t.Helper()
	dir := t.TempDir()
	org := filepath.Join(dir, "organisation")
	if _, err := identity.NewOrganisation(org, "ministry.example", "Ministry", rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	key, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.GrantInvestigation(org, filepath.Join(org, identity.RootFile), key.Public(), make([]byte, 32), time.Now()); err != nil {
		t.Fatal(err)
	}
	var written store.Store
	w := servertest.StartWith(t, servertest.Options{Dir: dir, Policy: claimsPolicy(t, ""), Store: func(st store.Store) store.Store { written = wrap(st); return written }})
	return w, key, written
}

// timelineOf is what the records say of a meeting up to now.
func timelineOf(w *servertest.World, m conclave.MeetingID) *exposure.Timeline {
	timeline := exposure.NewTimeline(m)
	for _, e := range w.Records() {
		timeline.Add(e)
	}
	timeline.Close(time.Now())
	return timeline
}

// ledgersOf are a meeting's sealed blocks as a store has them.
func ledgersOf(t *testing.T, st store.Store, m conclave.MeetingID) (blocks []exposure.Sealed) {
	t.Helper()
	stored, err := (&kept.Archive{Store: st}).Ledgers(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range stored {
		blocks = append(blocks, exposure.Sealed{Leg: l.Leg, Minute: l.Minute, Sealed: l.Sealed})
	}
	return blocks
}

// A meeting by a script, with a real server and real endpoints: the report says of it what the script says, to ±200 ms.
func TestTheReportOfAScriptedMeetingIsTrue(t *testing.T) {
	const exact = 200 * time.Millisecond
	w, key, written := startInvestigated(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)

	began := time.Now()
	at := func(d time.Duration) { time.Sleep(time.Until(began.Add(d))) }
	truth := map[string]exposure.Interval{}
	speak := func(g *guest, from, to time.Duration) {
		at(to)
		truth[g.name] = exposure.Interval{From: began.Add(from), To: began.Add(to)}
		if err := g.Spoke(began.Add(from), began.Add(to)); err != nil {
			t.Fatal(err)
		}
	}
	cleo.SetState(signal.State{Screen: true})
	speak(anna, 100*time.Millisecond, 900*time.Millisecond)
	speak(ben, 1000*time.Millisecond, 1400*time.Millisecond)
	from := ben.count()
	turned := time.Now()
	ben.Facts(notAlone)
	ben.await("quarantine", from, state(endpoint.StateQuarantined))
	alike(t, anna, cleo)
	keyless := time.Now()
	speak(cleo, 1800*time.Millisecond, 2400*time.Millisecond)
	from = ben.count()
	ben.Facts(alone)
	ben.await("in again", from, state(endpoint.StateIn))
	back := time.Now()
	alike(t, anna, ben, cleo)
	at(back.Sub(began) + 600*time.Millisecond)
	left := time.Now()
	leave(t, ben, cleo, anna)

	timeline, blocks := timelineOf(w, m), ledgersOf(t, written, m)
	spoken, bad := timeline.OpenSpeech(key, blocks)
	if len(spoken) != 3 || len(bad.Strange) != 0 || bad.Extra != 0 || bad.Shut != 0 {
		t.Fatalf("ledgers of %d legs, %+v", len(spoken), bad)
	}
	suspicion, err := exposure.ParseSuspicion("device=" + conclave.DeviceOf(b.Point).Text())
	if err != nil {
		t.Fatal(err)
	}
	r := exposure.Investigate(timeline, exposure.Options{Speech: spoken, Suspicions: []exposure.Suspicion{suspicion}})
	near := func(what string, got, want time.Time) {
		t.Helper()
		if d := got.Sub(want).Abs(); d > exact {
			t.Errorf("%s at %v, in truth at %v: %v off", what, got.Sub(began), want.Sub(began), d)
		} else {
			t.Logf("%s: %v off", what, d.Round(time.Microsecond))
		}
	}
	i := slices.IndexFunc(r.Spans, func(s exposure.SpanPart) bool { return s.Causes[0] == exposure.CauseRefused })
	if i < 0 {
		t.Fatalf("the line that turned bad is not told of: %+v", r.Spans)
	}
	refused := r.Spans[i]
	near("the line turned bad", refused.From, turned)
	near("the keys were changed", refused.To, keyless)
	if !slices.Contains(refused.Codes, "not_alone") || refused.Cut == nil {
		t.Errorf("codes %v, cut at %v", refused.Codes, refused.Cut)
	}
	last := r.Spans[len(r.Spans)-1]
	near("ben came back", last.From, back)
	if last.Cut == nil {
		t.Fatal("ben's leaving cut nothing")
	}
	near("ben left", *last.Cut, left) // his keys are void a little later: when another member has committed that

	// Who spoke while ben's device held keys.
	var held []exposure.Interval
	for _, s := range r.Spans {
		held = append(held, exposure.Interval{From: s.From, To: s.To})
	}
	told := map[string]time.Duration{}
	for _, s := range r.Spans {
		for _, h := range s.Spoke {
			told[h.Leg] += time.Duration(h.MS) * time.Millisecond
		}
	}
	for _, l := range timeline.Legs {
		name := map[conclave.DeviceID]string{conclave.DeviceOf(a.Point): "anna", conclave.DeviceOf(b.Point): "ben", conclave.DeviceOf(c.Point): "cleo"}[l.Device]
		var want time.Duration
		for _, h := range held {
			from, to := truth[name].From, truth[name].To
			if h.From.After(from) {
				from = h.From
			}
			if h.To.Before(to) {
				to = h.To
			}
			want += max(to.Sub(from), 0)
		}
		if d := (told[l.ID.Text()] - want).Abs(); d > exact {
			t.Errorf("%s spoke %v in it, told %v", name, want, told[l.ID.Text()])
		} else {
			t.Logf("%s spoke %v in it: %v off", name, want.Round(time.Millisecond), d.Round(time.Microsecond))
		}
	}
	if len(r.Spans[0].Screens) != 1 {
		t.Errorf("screens: %+v", r.Spans[0].Screens)
	}
	if len(timeline.Strangers) != 0 || timeline.BadCommits != 0 {
		t.Errorf("%d strangers", len(timeline.Strangers))
	}
}
