package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/gate"
	"conclave/identity"
	"conclave/mls"
	"conclave/server/servertest"
	"conclave/signal"
)

// guest is a real endpoint in a test, without media.
type guest struct {
	*endpoint.Endpoint
	t     testing.TB
	name  string
	keys  keyRing
	facts []conclave.Fact // claimed at the door
	looks bool            // does not join by itself
	media endpoint.Media  // nil: keys

	mu     sync.Mutex
	events []endpoint.Event
	more   chan struct{}
	done   chan error
	cancel context.CancelFunc
}

// keyRing is the media owner that only keeps keys.
type keyRing struct {
	mu    sync.Mutex
	held  bool
	epoch uint64
	key   []byte
}

func (*keyRing) Offer(context.Context, signal.SlotCounts, signal.Server) (signal.Media, error) {
	return signal.Media{}, errors.New("no media")
}
func (*keyRing) Ready() {}
func (k *keyRing) Keys(keys endpoint.EpochKeys) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch, k.key = keys.Epoch, bytes.Clone(keys.BaseKey)
}
func (*keyRing) Retire(uint64)      {}
func (*keyRing) Slots(signal.Slots) {}
func (*keyRing) Bar(uint32)         {}
func (k *keyRing) Hold(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = on
}
func (k *keyRing) isHeld() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held
}
func (k *keyRing) Suspend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch, k.key = 0, nil
}
func (*keyRing) Close() {}

func (k *keyRing) now() (uint64, []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.epoch, k.key
}

func come(t testing.TB, w *servertest.World, d *servertest.Device, name string, meeting conclave.MeetingID) *guest {
	t.Helper()
	return comeOver(t, w, d, name, meeting, new(wire))
}

// wire is a guest's line to the server, until it is cut.
type wire struct {
	mu   sync.Mutex
	conn endpoint.Conn
	off  bool
	keep func(endpoint.Conn) endpoint.Conn // looks on; nil: nobody does
}

func (l *wire) over(dial func(context.Context) (endpoint.Conn, error)) func(context.Context) (endpoint.Conn, error) {
	return func(ctx context.Context) (endpoint.Conn, error) {
		c, err := dial(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil && l.off {
			c.Close()
			return nil, errors.New("no line")
		}
		l.conn = c
		if err == nil && l.keep != nil {
			c = l.keep(c)
		}
		return c, err
	}
}

func (l *wire) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = false
}

func (l *wire) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = true
	l.conn.Close()
}

// comeWith is come with claims of the line.
func comeWith(t testing.TB, w *servertest.World, d *servertest.Device, name string, meeting conclave.MeetingID, facts []conclave.Fact) *guest {
	t.Helper()
	return comeAs(t, w, d, name, meeting, new(wire), facts)
}

func comeOver(t testing.TB, w *servertest.World, d *servertest.Device, name string, meeting conclave.MeetingID, line *wire) *guest {
	t.Helper()
	return comeAs(t, w, d, name, meeting, line, nil)
}

func comeAs(t testing.TB, w *servertest.World, d *servertest.Device, name string, meeting conclave.MeetingID, line *wire, facts []conclave.Fact) *guest {
	t.Helper()
	return (&guest{facts: facts}).come(t, w, d, name, meeting, line)
}

// look comes as far as the line check.
func look(t testing.TB, w *servertest.World, d *servertest.Device, name string, meeting conclave.MeetingID) *guest {
	t.Helper()
	g := (&guest{looks: true}).come(t, w, d, name, meeting, new(wire))
	g.await("line", 0, state(endpoint.StateChecked))
	return g
}

func (g *guest) come(t testing.TB, w *servertest.World, d *servertest.Device, name string, meeting conclave.MeetingID, line *wire) *guest {
	t.Helper()
	var config *tls.Config
	if w.Roots != nil {
		config = &tls.Config{RootCAs: w.Roots}
	}
	dial, host, err := endpoint.Dial(w.URL, config)
	if err != nil {
		t.Fatal(err)
	}
	dial = line.over(dial)
	scalar, err := d.Key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := mls.NewSigner(gate.Suite, scalar)
	if err != nil {
		t.Fatal(err)
	}
	g.t, g.name, g.more, g.done = t, name, make(chan struct{}, 1), make(chan error, 1)
	if g.media == nil {
		g.media = &g.keys
	}
	g.Endpoint, err = endpoint.New(endpoint.Config{
		Dial: dial, Host: host, Identity: endpoint.Identity{Statement: d.Statement, Signer: signer},
		Organisation: w.Organisation.ID, Root: w.Organisation.Root, Meeting: meeting,
		Client: signal.Client{Kind: "headless", Name: "test"}, Media: g.media, Emit: g.emit,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-g.done:
		case <-time.After(5 * time.Second):
			t.Errorf("%s does not end", name)
		}
	})
	return g
}

func (g *guest) emit(e endpoint.Event) {
	if e.State != nil && e.State.State == endpoint.StateChecked && !g.looks {
		g.Join(g.facts)
	}
	g.mu.Lock()
	g.events = append(g.events, e)
	g.mu.Unlock()
	select {
	case g.more <- struct{}{}:
	default:
	}
}

// await waits for an event since the n-th and returns how many there were up to it.
func (g *guest) await(what string, from int, is func(endpoint.Event) bool) int {
	g.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		g.mu.Lock()
		for i := from; i < len(g.events); i++ {
			if is(g.events[i]) {
				g.mu.Unlock()
				return i + 1
			}
		}
		g.mu.Unlock()
		select {
		case <-g.more:
		case <-deadline:
			g.t.Fatalf("%s: no %s in %s", g.name, what, g.story())
		}
	}
}

func (g *guest) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.events)
}

func (g *guest) story() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out strings.Builder
	for _, e := range g.events {
		switch {
		case e.State != nil:
			fmt.Fprintf(&out, " %s%v", e.State.State, e.State.Reasons)
		case e.Alarm != nil:
			fmt.Fprintf(&out, " ALARM %s", e.Alarm.Problem.Code)
		case e.Failed != nil:
			fmt.Fprintf(&out, " failed %s %s", e.Failed.Of, e.Failed.Reason.Code)
		case e.Code != nil:
			fmt.Fprintf(&out, " code@%d(%s)", e.Code.Epoch, e.Code.Why)
		case e.Roster != nil:
			fmt.Fprintf(&out, " roster(%d)", len(e.Roster.Members))
		}
	}
	return out.String()
}

func state(s endpoint.State) func(endpoint.Event) bool {
	return func(e endpoint.Event) bool { return e.State != nil && e.State.State == s }
}

func reason(code string) func(endpoint.Event) bool {
	return func(e endpoint.Event) bool {
		return e.State != nil && slices.ContainsFunc(e.State.Reasons, func(p conclave.Problem) bool { return p.Code == code })
	}
}

// in waits until the guest is a member.
func (g *guest) in() *guest {
	g.t.Helper()
	g.await("state in", 0, state(endpoint.StateIn))
	return g
}

func (g *guest) noAlarm() {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Alarm != nil {
			g.t.Errorf("%s was alarmed: %s", g.name, e.Alarm.Problem.Code)
		}
	}
}

// members returns the people of the guest's last roster.
func (g *guest) members() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := len(g.events) - 1; i >= 0; i-- {
		if r := g.events[i].Roster; r != nil {
			var names []string
			for _, m := range r.Members {
				names = append(names, m.Person)
			}
			slices.Sort(names)
			return names
		}
	}
	return nil
}

// leg finds somebody's leg in the guest's rosters. The server's word on it may come a little later than the key.
func (g *guest) leg(person string) conclave.LegID {
	g.t.Helper()
	var leg conclave.LegID
	wait(g.t, g.name+"'s sight of "+person, 5*time.Second, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, e := range g.events {
			if e.Roster == nil {
				continue
			}
			for _, m := range e.Roster.Members {
				if m.Person == person && m.Leg != (conclave.LegID{}) {
					leg = m.Leg
				}
			}
		}
		return leg != (conclave.LegID{})
	})
	return leg
}

// alike waits until all have the same key and see exactly each other.
func alike(t testing.TB, guests ...*guest) {
	t.Helper()
	var names []string
	for _, g := range guests {
		names = append(names, g.name)
	}
	slices.Sort(names)
	for range 500 {
		epoch, key := guests[0].keys.now()
		same := key != nil
		for _, g := range guests {
			e, k := g.keys.now()
			same = same && e == epoch && bytes.Equal(k, key) && slices.Equal(g.members(), names)
		}
		if same {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, g := range guests {
		e, k := g.keys.now()
		t.Logf("%s: epoch %d key %x sees %v:%s", g.name, e, k, g.members(), g.story())
	}
	t.Fatal("they do not share a key and a roster")
}

func wait(t testing.TB, what string, limit time.Duration, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come in %v", what, limit)
		}
	}
}

func TestThreeMeetOneIsRemovedOneLeaves(t *testing.T) {
	w := servertest.Start(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeeting("anna", "ben", "cleo")
	anna := come(t, w, a, "anna", m).in()
	ben := come(t, w, b, "ben", m).in()
	cleo := come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)

	anna.SetState(signal.State{Muted: true})
	cleo.await("anna muted", 0, func(e endpoint.Event) bool {
		return e.Roster != nil && slices.ContainsFunc(e.Roster.Members, func(m endpoint.Member) bool { return m.Person == "anna" && m.Muted })
	})

	before, _ := ben.keys.now()
	began := time.Now()
	anna.Remove(anna.leg("ben"), "not_cleared")
	ben.await("end", 0, reason("removed_not_cleared"))
	alike(t, anna, cleo)
	t.Logf("removed after %v", time.Since(began))
	if after, _ := ben.keys.now(); after != before {
		t.Error("ben has keys of a later epoch")
	}
	// Whoever was removed does not walk in again, invited or not: the chair decides.
	again := come(t, w, b, "ben", m)
	again.await("waiting", 0, state(endpoint.StateWaiting))
	if again.members() != nil {
		t.Error("one at the door sees the room")
	}
	wait(t, "ben at the door", 5*time.Second, func() bool { return len(anna.roster().Waiting) == 1 })
	anna.Decide(anna.roster().Waiting[0].Leg, true)
	alike(t, anna, cleo, again.in())
	var leg conclave.LegID
	wait(t, "ben's new leg", 5*time.Second, func() bool {
		for _, m := range anna.roster().Members {
			if m.Person == "ben" {
				leg = m.Leg
			}
		}
		return leg != conclave.LegID{}
	})
	anna.Remove(leg, "other")
	again.await("end", 0, reason("removed_other"))
	alike(t, anna, cleo)
	anna.Leave()
	anna.await("end", 0, state(endpoint.StateEnded))
	alike(t, cleo)
	for _, g := range []*guest{anna, ben, cleo} {
		g.noAlarm()
	}
	// The last one turns off the light: the next makes a new group.
	cleo.Leave()
	cleo.await("end", 0, state(endpoint.StateEnded))
	// Also when all have gone for a while, and over a restart: who was removed does not walk into the empty room.
	w.Restart()
	for range 2 {
		empty := come(t, w, b, "ben", m)
		empty.await("waiting", 0, state(endpoint.StateWaiting))
		empty.Leave()
		empty.await("end", 0, state(endpoint.StateEnded))
	}
	alike(t, come(t, w, c, "cleo", m).in())
}

func TestThirtyWhoComeAtOnceAllShareAKey(t *testing.T) {
	w := servertest.Start(t)
	var people []conclave.PersonID
	var devices []*servertest.Device
	for i := range 30 {
		p := conclave.PersonID(fmt.Sprintf("p%02d", i))
		people = append(people, p)
		devices = append(devices, w.Enrol(p))
	}
	m := w.OpenMeeting(people...)
	var guests []*guest
	for i, d := range devices {
		guests = append(guests, come(t, w, d, string(people[i]), m))
	}
	for _, g := range guests {
		g.in()
	}
	alike(t, guests...)
	for _, g := range guests {
		g.noAlarm()
	}
}

func TestTheServerStartsAgainDuringAMeeting(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	epoch, key := anna.keys.now()
	na, nb := anna.count(), ben.count()
	began := time.Now()
	w.Restart()
	anna.await("reconnecting", na, state(endpoint.StateReconnecting))
	anna.await("in", na, state(endpoint.StateIn))
	ben.await("in", nb, state(endpoint.StateIn))
	t.Logf("all back after %v", time.Since(began))
	if e, k := ben.keys.now(); e != epoch || !bytes.Equal(k, key) {
		t.Error("the keys changed for nothing")
	}
	alike(t, anna, ben)
	// The room goes on: a removal still works.
	anna.Remove(anna.leg("ben"), "other")
	ben.await("end", nb, reason("removed_other"))
	alike(t, anna)
	anna.noAlarm()
}

func TestTheChairDecidesAtTheDoor(t *testing.T) {
	w := servertest.Start(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Chair: "anna", People: []conclave.PersonID{"ben", "cleo"}, Door: identity.DoorChair})
	anna := come(t, w, a, "anna", m).in()
	ben, cleo := come(t, w, b, "ben", m), come(t, w, c, "cleo", m)
	ben.await("waiting", 0, state(endpoint.StateWaiting))
	cleo.await("waiting", 0, state(endpoint.StateWaiting))
	door := map[string]conclave.LegID{}
	wait(t, "both at the door", 5*time.Second, func() bool {
		anna.mu.Lock()
		defer anna.mu.Unlock()
		for _, e := range anna.events {
			if e.Roster != nil {
				for _, g := range e.Roster.Waiting {
					door[g.Name] = g.Leg
				}
			}
		}
		return len(door) == 2
	})
	if ben.members() != nil {
		t.Error("one at the door sees the room")
	}
	anna.Decide(door["ben"], true)
	anna.Decide(door["cleo"], false)
	ben.in()
	cleo.await("declined", 0, reason("door_declined"))
	alike(t, anna, ben)
	ben.Decide(door["cleo"], true)
	ben.await("failure", 0, func(e endpoint.Event) bool { return e.Failed != nil && e.Failed.Reason.Code == "not_chair" })
}

func TestOnlyTheInvitedOnEnrolledDevicesGetIn(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna")
	come(t, w, a, "anna", m).in()
	come(t, w, b, "ben", m).await("refusal", 0, reason("not_invited"))
	come(t, w, b, "ben", conclave.MeetingID{9}).await("refusal", 0, reason("not_invited"))
	stranger := w.NewDevice()
	stranger.Statement = a.Statement // another's
	come(t, w, stranger, "stranger", m).await("refusal", 0, reason("hello_signature"))
}

func TestASecondPageOfADeviceReplacesTheFirst(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	first := come(t, w, b, "ben", m).in()
	second := come(t, w, b, "ben", m).in()
	first.await("end", 0, reason("leg_replaced"))
	alike(t, anna, second)
	anna.noAlarm()
}

func TestTheEndOfAMeetingPutsEverybodyOut(t *testing.T) {
	w := servertest.Start(t)
	a := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	anna := come(t, w, a, "anna", m).in()
	adminPost(t, w, "/meetings/"+m.Text()+"/end", "{}")
	anna.await("end", 0, reason("meeting_over"))
	come(t, w, a, "anna", m).await("refusal", 0, reason("meeting_over"))
}

func TestARevokedDeviceIsPutOutAtOnce(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	adminPost(t, w, "/devices/"+conclave.DeviceOf(b.Point).Text()+"/revoke", "{}")
	ben.await("end", 0, reason("statement_invalid"))
	alike(t, anna)
}

func TestOneWhoMissedARemovalFollowsItAfterwards(t *testing.T) {
	w := servertest.Start(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("carla")
	m := w.OpenMeeting("anna", "ben", "carla")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	var line wire
	carla := comeOver(t, w, c, "carla", m, &line).in()
	alike(t, anna, ben, carla)
	line.cut()
	adminPost(t, w, "/devices/"+conclave.DeviceOf(b.Point).Text()+"/revoke", "{}")
	anna.await("the removal", 0, func(e endpoint.Event) bool {
		return e.Code != nil && slices.Contains([]string{"went", "removed"}, e.Code.Why)
	})
	w.Restart() // what brings carla up to date is kept in the store
	line.mend()
	alike(t, anna, carla)
	for _, g := range []*guest{anna, carla} {
		if strings.Contains(g.story(), "ALARM") {
			t.Errorf("%s was alarmed:%s", g.name, g.story())
		}
	}
}

func TestAPersonWhoIsStruckOffIsPutOutAndStaysOut(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	adminPost(t, w, "/people/ben/remove", "{}")
	ben.await("end", 0, func(e endpoint.Event) bool { return e.State != nil && e.State.State == endpoint.StateEnded })
	alike(t, anna)
	again := come(t, w, b, "ben", m)
	again.await("refusal", 0, func(e endpoint.Event) bool {
		return e.Line != nil && !e.Line.Enough || e.State != nil && e.State.State == endpoint.StateRefused
	})
}

func TestARevokedDeviceIsPutOutThoughItsLineIsLost(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	var line wire
	ben := comeOver(t, w, b, "ben", m, &line).in()
	alike(t, anna, ben)
	line.cut()
	anna.await("ben's lost line", 0, func(e endpoint.Event) bool {
		return e.Roster != nil && slices.ContainsFunc(e.Roster.Members, func(m endpoint.Member) bool { return m.Lost != nil })
	})
	from := anna.count()
	adminPost(t, w, "/devices/"+conclave.DeviceOf(b.Point).Text()+"/revoke", "{}")
	// At once: the place of a lost line would be kept for a minute.
	anna.await("keys without ben", from, func(e endpoint.Event) bool {
		return e.Code != nil && slices.Contains([]string{"went", "removed"}, e.Code.Why)
	})
	alike(t, anna)
}
