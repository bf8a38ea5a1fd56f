package server_test

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/network"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/signal"
)

// Leaks that happened, each replayed. A test names the feature that stops it here, and shows first that without that feature
// the leak would happen again: with the rules taken out of the policy, or with the check that it is about undone.

// without is the default policy without the rules of these reasons.
func without(t testing.TB, reasons ...string) *admission.Policy {
	t.Helper()
	source, err := admission.Without(admission.DefaultPolicy(), admission.DefaultLevels(), reasons...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := admission.Load(source, admission.DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// officer is a request that the default policy admits: of an invited person on an enrolled device, sealed, at a level.
func officer(level string, change func(*admission.Request)) admission.Request {
	l, _ := admission.DefaultLevels().Find(level)
	r := admission.Request{Person: admission.Person{ID: "officer", Known: true}, Invited: true, LetIn: true, Statement: admission.StatementValid,
		Meeting: admission.Meeting{Level: l, Door: admission.DoorInvited}, Assurance: conclave.AssuranceSoftware, Grade: conclave.GradeGuarded,
		Facts: []conclave.Fact{proven("transport", "tls"), proven("assertion", "fresh")}}
	change(&r)
	return r
}

func proven(name, value string) conclave.Fact {
	return conclave.Fact{Name: name, Value: value, Proven: true}
}

// stopped holds that the default policy refuses with these reasons, and lets in without the rules that give them.
func stopped(t *testing.T, r admission.Request, reasons ...string) {
	t.Helper()
	now := time.Now()
	if got := admission.Default().Rule(r, now); got.Outcome != conclave.Refuse || !slices.Equal(audit.Codes(got.Reasons), reasons) {
		t.Errorf("ruled %v with %v, want %v", got.Outcome, audit.Codes(got.Reasons), reasons)
	}
	if got := without(t, reasons...).Rule(r, now); got.Outcome != conclave.Admit {
		t.Errorf("without the rules %v it is still not let in: %v", reasons, audit.Codes(got.Reasons))
	}
}

// Taurus, 2024: one of four officers joined over an ordinary line. No rank and no chair lets him in.
func TestLeakTaurusAPhoneInARestrictedRoom(t *testing.T) {
	for _, change := range []func(*admission.Request){
		func(r *admission.Request) { r.Grade = conclave.GradeOpen },
		func(r *admission.Request) { r.Grade, r.Chair = conclave.GradeOpen, true },
		func(r *admission.Request) { r.Grade, r.Excepted = conclave.GradeOpen, true },
		func(r *admission.Request) { r.Grade = conclave.GradeHop },
	} {
		stopped(t, officer("RESTRICTED", change), "line_too_weak")
	}
}

// Taurus: he was at an air show, and had he said so, the chair would have seen it and decided.
func TestLeakTaurusOnATripThatTheChairSees(t *testing.T) {
	announced := officer("RESTRICTED", func(r *admission.Request) {
		r.LetIn, r.Facts = false, append(r.Facts, proven("travel", "announced"), proven("risk", "raised"))
	})
	if got := admission.Default().Rule(announced, time.Now()); got.Outcome != conclave.Wait {
		t.Errorf("ruled %+v", got)
	}
	if got := without(t, "chair_decides").Rule(announced, time.Now()); got.Outcome != conclave.Admit {
		t.Errorf("without the chair: %+v", got)
	}
}

// Taurus: they chatted about the hotel and the view while they waited for the chief, and that was broadcast too.
func TestLeakTaurusSmallTalkBeforeTheChair(t *testing.T) {
	early := func(p *admission.Policy) (seen bool) {
		w := servertest.StartWith(t, servertest.Options{Policy: p})
		a, b := w.Enrol("ben"), w.Enrol("cleo")
		w.AddPerson("chief", "")
		m := openRestricted(w, "chief", "ben", "cleo")
		ben, cleo := come(t, w, a, "ben", m), come(t, w, b, "cleo", m)
		for _, g := range []*guest{ben, cleo} {
			g.await("in or waiting", 0, func(e endpoint.Event) bool {
				return e.State != nil && (e.State.State == endpoint.StateWaiting || e.State.State == endpoint.StateIn)
			})
		}
		_, key := ben.keys.now()
		return key != nil
	}
	if early(admission.Default()) {
		t.Error("they hold keys before the chair is in")
	}
	levels := admission.DefaultLevels()
	for i := range levels {
		levels[i].Start = admission.StartAnyone
	}
	p, err := admission.Load(admission.DefaultPolicy(), levels)
	if err != nil {
		t.Fatal(err)
	}
	if !early(p) {
		t.Error("without the feature they would have talked: this test shows nothing")
	}
}

// Bundeswehr, 2024: meetings' numbers could be counted up, and some rooms had no password. A pointer is 128 bits of chance,
// and even the right one opens nothing to who is not invited.
func TestLeakWebexMeetingsThatCanBeCounted(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Limits: server.Limits{Connections: 1000, PerAddress: 1000, Rate: 1e6, Burst: 1e6, Requests: 1000}})
	w.Enrol("anna")
	spy := w.Enrol("spy")
	m := w.OpenMeeting("anna")
	hits := 0
	for i := range 200 { // its neighbours, and others
		guess := m
		if i < 100 {
			guess[15] += byte(i + 1)
		} else {
			rand.Read(guess[:])
		}
		if _, err := w.Server.Directory().Meeting(context.Background(), guess); err == nil {
			hits++
		}
	}
	if hits > 0 {
		t.Errorf("%d meetings were found by counting", hits)
	}
	r := connect(t, w)
	r.hello(spy, m)
	expect[*signal.Line](r)
	r.send(&signal.Join{})
	if f := expect[*signal.Refused](r); f.Reasons[0].Code != "not_invited" {
		t.Errorf("refused %+v", f)
	}
	open := servertest.StartWith(t, servertest.Options{Policy: without(t, "not_invited")})
	open.Enrol("anna")
	connect(t, open).admitted(open.Enrol("spy"), open.OpenMeeting("anna"))
}

// Webex, 2024: whoever came by phone and pressed # skipped the PIN; a journalist sat unnoticed in a party's call. A phone is
// ruled on as everybody is, and seen by the chair first.
func TestLeakPhonesThatSkipTheDoor(t *testing.T) {
	comes := func(p *admission.Policy) (where endpoint.State) {
		w := servertest.StartWith(t, servertest.Options{Policy: p})
		w.AddPerson("chief", "")
		w.AddPerson("officer", "")
		m := w.OpenMeeting("chief", "officer")
		code, _, err := w.Server.Directory().IssuePhoneCode(context.Background(), "officer", m, 0, rand.Reader, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		g := connectGateway(t, w, enrolGateway(t, w)).living()
		id := signal.NewCallID()
		g.came(id, signal.PhoneOpen)
		key := w.NewDevice()
		g.send(&signal.CallCode{Call: id, Code: code, LeafKey: key.Point, Proof: key.Sign(signal.CallContent(g.nonce, id))})
		if key.Statement = told[*signal.CallAnswer](g).Statement; len(key.Statement) == 0 {
			t.Fatal("the call has no statement")
		}
		come(t, w, key, "officer", m).await("the door, or past it", 0, func(e endpoint.Event) bool {
			if e.State != nil && (e.State.State == endpoint.StateWaiting || e.State.State == endpoint.StateIn) {
				where = e.State.State
			}
			return where != ""
		})
		return where
	}
	if where := comes(admission.Default()); where != endpoint.StateWaiting {
		t.Errorf("a telephone with a right code is %s", where)
	}
	if where := comes(without(t, "chair_decides")); where != endpoint.StateIn {
		t.Errorf("without the chair's look it is %s: this test shows nothing", where)
	}
	stopped(t, officer("OPEN", func(r *admission.Request) { r.Grade, r.Invited = conclave.GradeOpen, false }), "not_invited")
	stopped(t, officer("INTERNAL", func(r *admission.Request) { r.Grade = conclave.GradeOpen }), "line_too_weak")
}

// EU defence ministers, 2020: a PIN in a photograph was all that it took. Here the link is known to the journalist, and the
// device is his own.
func TestLeakAPINInAPhotograph(t *testing.T) {
	w := servertest.Start(t)
	w.Enrol("minister")
	m := w.OpenMeeting("minister")
	r := connect(t, w)
	r.hello(unknown(w, "journalist"), m)
	if line := expect[*signal.Line](r); line.Enough {
		t.Error("the line would do")
	}
	r.send(&signal.Join{})
	if f := expect[*signal.Refused](r); f.Reasons[0].Code != "statement_invalid" || f.Again {
		t.Errorf("refused %+v", f)
	}
	r.closed()
	stopped(t, officer("OPEN", func(r *admission.Request) {
		r.Statement, r.Person, r.Invited = admission.StatementInvalid, admission.Person{}, false
	}), "statement_invalid", "person_unknown", "not_invited")
}

// Signalgate, 2025: a contact was merged into another, and a journalist with nothing to look for there was added.
func TestLeakSomebodyWhoShouldNotHaveBeenAdded(t *testing.T) {
	comes := func(p *admission.Policy) signal.Message {
		w := &crawled{World: servertest.StartWith(t, servertest.Options{Policy: p})}
		w.AddPerson("chief", "")
		m := openRestricted(w.World, "chief")
		journalist := w.guest(t, w.invitation(t, m)) // with a real invitation, which somebody sent to the wrong contact
		r := connect(t, w.World)
		r.hello(journalist, m)
		expect[*signal.Line](r)
		r.send(&signal.Join{})
		return r.next()
	}
	if m, ok := comes(admission.Default()).(*signal.Refused); !ok || !slices.Equal(codes(m.Reasons), []string{"device_too_weak"}) || m.Reasons[0].Fix != "enrol_device" {
		t.Errorf("answered with %+v", m)
	}
	if _, ok := comes(without(t, "device_too_weak")).(*signal.Waiting); !ok {
		t.Error("without the rule the chair is not asked: this test shows nothing")
	}
	stopped(t, officer("INTERNAL", func(r *admission.Request) { r.Person.Known = false }), "person_unknown", "not_invited")
}

// Hegseth, 2025: a private phone with an app that nobody had approved.
func TestLeakAPrivateDevice(t *testing.T) {
	stopped(t, officer("INTERNAL", func(r *admission.Request) {
		r.Statement, r.Person, r.Invited = admission.StatementInvalid, admission.Person{}, false
	}), "statement_invalid", "person_unknown", "not_invited")
	// Taken out of use, it is out at once.
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	adminPost(t, w, "/devices/"+conclave.DeviceOf(b.Point).Text()+"/revoke", "{}")
	ben.await("end", 0, func(e endpoint.Event) bool { return e.State != nil && e.State.State == endpoint.StateEnded })
	alike(t, anna)
}

// Wallace 2022, Cameron 2024, Cardin and Arup 2024: somebody looked and sounded like the minister. Here he comes under the
// minister's name, from an organisation of his own making.
func TestLeakSomebodyWhoLooksLikeTheMinister(t *testing.T) {
	w, his := servertest.Start(t), servertest.Start(t)
	real := w.Enrol("minister")
	m := w.OpenMeeting("minister")
	fake := his.Enrol("minister")
	r := connect(t, w)
	r.hello(fake, m)
	expect[*signal.Line](r)
	r.send(&signal.Join{})
	if f := expect[*signal.Refused](r); f.Reasons[0].Code != "statement_invalid" {
		t.Errorf("refused %+v", f)
	}
	// Without the organisation's signature, name and id would be all that there is, and they are the minister's.
	connect(t, w).admitted(real, m)
	stopped(t, officer("OPEN", func(r *admission.Request) {
		r.Statement, r.Person, r.Invited = admission.StatementInvalid, admission.Person{}, false
	}), "statement_invalid", "person_unknown", "not_invited")
}

// Webex, 2020 (CVE-2020-3419, -3441, -3471): who was put out went on listening, unseen. Here whoever is out lacks the keys.
func TestLeakAGhostWhoListensOn(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ghost")
	m := w.OpenMeeting("anna", "ghost")
	anna, ghost := come(t, w, a, "anna", m).in(), come(t, w, b, "ghost", m).in()
	alike(t, anna, ghost)
	epoch, kept := ghost.keys.now() // a modified client keeps what it has
	anna.Remove(anna.leg("ghost"), "other")
	ghost.await("end", 0, func(e endpoint.Event) bool { return e.State != nil && e.State.State == endpoint.StateEnded })
	alike(t, anna)
	after, key := anna.keys.now()
	if after <= epoch || string(key) == string(kept) {
		t.Error("the room speaks under the keys that the ghost has")
	}
	anna.noAlarm()
	if len(anna.members()) != 1 {
		t.Errorf("in the room: %v", anna.members())
	}
}

// Signal, 2026: some 300 were talked out of a code, and another's device was linked. A link is good once, and a copied
// profile has no passkey.
func TestLeakALinkedDevice(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "")
	link := w.Link("anna")
	enrol := func() error {
		token, err := identity.ParseToken(link)
		if err != nil {
			t.Fatal(err)
		}
		d := w.NewDevice()
		_, _, err = w.Server.Directory().Enrol(context.Background(), identity.Enrolment{Token: token, LeafKey: d.Point,
			Proof: d.Sign(signal.EnrolContent(token.Text())), DeviceName: "x"}, time.Now())
		return err
	}
	if err := enrol(); err != nil {
		t.Fatal(err) // the first is let in: whoever is second finds out
	}
	if err := enrol(); err == nil {
		t.Error("a link was good twice")
	}
	stopped(t, officer("CONFIDENTIAL", func(r *admission.Request) { r.Facts = r.Facts[:1] }), "assertion_missing")
}

// Otter, 2024: an assistant joined by itself, stayed when people had left, and mailed what was said. It has no statement.
func TestLeakAnAssistantThatStays(t *testing.T) {
	w := servertest.Start(t)
	a := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	come(t, w, a, "anna", m).in()
	r := connect(t, w)
	r.hello(unknown(w, "anna"), m) // with all that anna's own page knows but her key
	expect[*signal.Line](r)
	r.send(&signal.Join{})
	if f := expect[*signal.Refused](r); f.Reasons[0].Code != "statement_invalid" {
		t.Errorf("refused %+v", f)
	}
	stopped(t, officer("OPEN", func(r *admission.Request) { r.Statement = admission.StatementExpired }), "statement_expired")
}

// A line that turned bad in the middle, which nobody looked at again: here the same leg is looked at when what is known of
// networks changes, is out, and back once it is good.
func TestLeakALineThatTurnsBad(t *testing.T) {
	list := "127.0.0.0/8 isp"
	policy := admission.Default()
	w := servertest.StartWith(t, servertest.Options{Reload: func() (server.Ground, error) {
		l, err := network.ParseList([]byte(list))
		return server.Ground{Policy: policy, Places: &network.Ground{Listed: l}}, err
	}})
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	reload := func() {
		t.Helper()
		if _, err := w.Server.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	from := ben.count()
	list = "127.0.0.0/8 tor"
	reload()
	ben.await("quarantine", from, reason("origin_hidden"))
	if _, key := ben.keys.now(); key != nil {
		t.Error("ben has keys")
	}
	from = ben.count()
	fromAnna := anna.count()
	began := time.Now()
	list = "127.0.0.0/8 isp"
	reload()
	anna.await("in again", fromAnna, state(endpoint.StateIn)) // from the same machine: she was out too
	ben.await("in again", from, state(endpoint.StateIn))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("back after %v", took)
	}
	alike(t, anna, ben)
	// Without the rule nobody would have noticed.
	policy, list = without(t, "origin_hidden"), "127.0.0.0/8 tor"
	from = ben.count()
	reload()
	time.Sleep(300 * time.Millisecond)
	for _, e := range ben.since(from) {
		if e.State != nil && e.State.State == endpoint.StateQuarantined {
			t.Error("quarantined without the rule: this test shows nothing")
		}
	}
}

// since returns the events from a place on.
func (g *guest) since(from int) []endpoint.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.events[from:])
}
