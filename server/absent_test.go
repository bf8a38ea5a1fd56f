package server_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/server/servertest"
	"conclave/signal"
)

// overheard is a guest's line that keeps all that the server says on it.
type overheard struct {
	endpoint.Conn
	mu     *sync.Mutex
	frames *strings.Builder
}

func (k overheard) Read(ctx context.Context) ([]byte, error) {
	b, err := k.Conn.Read(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frames.Write(b)
	return b, err
}

// absent returns the last that a guest was told of those who are not there, as "person:ringing:code".
func (g *guest) absent() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := len(g.events) - 1; i >= 0; i-- {
		if r := g.events[i].Roster; r != nil {
			out := []string{}
			for _, a := range r.Absent {
				code := ""
				if a.Against != nil {
					code = a.Against.Code
				}
				out = append(out, fmt.Sprintf("%s:%t:%s", a.Person, a.Ringing, code))
			}
			return out
		}
	}
	return nil
}

func (g *guest) absentIs(want ...string) {
	g.t.Helper()
	for end := time.Now().Add(20 * time.Second); !slices.Equal(g.absent(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("%s is told that %q are not there, want %q", g.name, g.absent(), want)
		}
	}
}

func (g *guest) told(code string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.events, func(e endpoint.Event) bool {
		return e.Notice != nil && e.Notice.Notice.Code == code
	})
}

func addWithPhone(t *testing.T, w *servertest.World, id conclave.PersonID, phone string) {
	t.Helper()
	if err := w.Server.Directory().AddPerson(context.Background(), identity.Person{ID: id, Name: "Name of " + string(id), Unit: "Field", Phone: phone}, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func TestTheChairSeesWhoIsNotThereAndHasThemRung(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	addWithPhone(t, w, "carla", "+4930111")
	addWithPhone(t, w, "david", "")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Budget", Chair: "anna", People: []conclave.PersonID{"anna", "ben", "carla", "david"}, Door: identity.DoorInvited})
	anna := come(t, w, a, "anna", m).in()
	anna.absentIs("ben:false:phone_no_number", "carla:false:phone_no_gateway", "david:false:phone_no_number")
	gateway := connectGateway(t, w, enrolGateway(t, w)).living()
	anna.absentIs("ben:false:phone_no_number", "carla:false:", "david:false:phone_no_number")
	ben := come(t, w, b, "ben", m).in()
	anna.absentIs("carla:false:", "david:false:phone_no_number")

	anna.Ring("carla")
	ring := told[*signal.RingOut](gateway)
	if ring.Address != "+4930111" {
		t.Errorf("rung at %s", ring.Address)
	}
	anna.absentIs("carla:true:", "david:false:phone_no_number")
	gateway.send(&signal.CallOver{Call: ring.Call, Outcome: "unanswered"})
	anna.absentIs("carla:false:", "david:false:phone_no_number")
	wait(t, "the word that nobody answered", 20*time.Second, func() bool { return anna.told("ring_unanswered") })

	// Each no says what it is.
	for person, code := range map[conclave.PersonID]string{"carla": "phone_ring_too_soon", "david": "phone_no_number", "eva": "not_invited", "anna ": "not_invited"} {
		from := anna.count()
		anna.Ring(person)
		anna.await(code, from, func(e endpoint.Event) bool {
			return e.Failed != nil && e.Failed.Of == "ring" && e.Failed.Reason.Code == code
		})
	}
	gateway.socket.CloseNow()
	anna.absentIs("carla:false:phone_no_gateway", "david:false:phone_no_number")
	ben.absentIs()
	if ben.told("ring_unanswered") {
		t.Error("a member is told whom the chair had rung")
	}
	anna.noAlarm()
	ben.noAlarm()
}

// Who has not come, whether they are invited at all, and whether they have a telephone: a member learns none of it, asks as they
// like, and neither does the chair by telephone.
func TestAMemberLearnsNothingOfWhoIsNotThere(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	addWithPhone(t, w, "carla", "+4930111")
	addWithPhone(t, w, "david", "")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Budget", Chair: "anna", People: []conclave.PersonID{"anna", "ben", "carla"}, Door: identity.DoorInvited})
	connectGateway(t, w, enrolGateway(t, w)).living()
	anna := come(t, w, a, "anna", m).in()
	var mu sync.Mutex
	var frames strings.Builder
	line := new(wire)
	line.keep = func(c endpoint.Conn) endpoint.Conn { return overheard{c, &mu, &frames} }
	ben := comeOver(t, w, b, "ben", m, line).in()
	anna.absentIs("carla:false:")
	for _, person := range []conclave.PersonID{"carla", "david", "nobody", "anna", "ben"} {
		from := ben.count()
		ben.Ring(person)
		ben.await("a no", from, func(e endpoint.Event) bool {
			return e.Failed != nil && e.Failed.Of == "ring" && e.Failed.Reason.Code == "not_chair"
		})
	}
	mu.Lock()
	all := frames.String()
	mu.Unlock()
	for _, word := range []string{"absent", "carla", "david", "+4930", "phone_no"} {
		if strings.Contains(all, word) {
			t.Errorf("the server told a member of %q", word)
		}
	}
	for _, r := range w.Records() {
		if r.Record.Kind == "ring" {
			t.Error("a member had somebody rung")
		}
	}
	if len(ben.absent()) != 0 {
		t.Errorf("ben's roster says that %q are not there", ben.absent())
	}
}

// A policy can let others see the list, but no guest and no caller.
func TestPolicySaysWhoMayHaveOthersRung(t *testing.T) {
	source := strings.Replace(string(admission.DefaultPolicy()), `action == Action::"ring", resource)
when { context.chair }`, `action == Action::"ring", resource)
when { principal.unit == "Office" }`, 1)
	policy, err := admission.Load([]byte(source), admission.DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	w := servertest.StartWith(t, servertest.Options{Policy: policy})
	if err := w.Server.Directory().AddPerson(context.Background(), identity.Person{ID: "ben", Name: "Ben", Unit: "Office"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	a, b := w.Enrol("anna"), w.Enrol("ben")
	addWithPhone(t, w, "carla", "+4930111")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Budget", Chair: "anna", People: []conclave.PersonID{"anna", "ben", "carla"}, Door: identity.DoorInvited})
	gateway := connectGateway(t, w, enrolGateway(t, w)).living()
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	ben.absentIs("carla:false:")
	from := anna.count()
	anna.Ring("carla")
	anna.await("a no", from, func(e endpoint.Event) bool { return e.Failed != nil && e.Failed.Reason.Code == "not_chair" })
	ben.Ring("carla")
	told[*signal.RingOut](gateway)
	ben.absentIs("carla:true:")
	if len(anna.absent()) != 0 {
		t.Errorf("the chair is told of %q, and policy does not let her", anna.absent())
	}
}
