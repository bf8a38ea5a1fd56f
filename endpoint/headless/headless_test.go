package headless

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/device"
	"conclave/opus"
	"conclave/server/servertest"
	"conclave/sfu/slot"
	"conclave/signal"

	"net/http"
)

// guest is a headless endpoint in a real server's meeting.
type guest struct {
	*Client
	t      testing.TB
	name   string
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex // guards all below
	events []endpoint.Event
	frames map[voice][]time.Time // when frames were opened
}

// enrolled returns a device of a person, enrolled over HTTP as any other.
func enrolled(t testing.TB, w *servertest.World, person conclave.PersonID, meeting conclave.MeetingID) *device.Device {
	t.Helper()
	link, err := device.ParseLink(fmt.Sprintf("%s/m/%s#e=%s&r=%s", w.URL, meeting.Text(), w.Link(person), w.Organisation.RootHash()))
	if err != nil {
		t.Fatal(err)
	}
	d, err := device.Enrol(context.Background(), http.DefaultClient, link, "Test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// come starts a guest.
func come(t testing.TB, w *servertest.World, d *device.Device, meeting conclave.MeetingID, change ...func(*Config)) *guest {
	t.Helper()
	dial, host, err := endpoint.Dial(w.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := d.Person()
	g := &guest{t: t, name: name, done: make(chan error, 1), frames: make(map[voice][]time.Time)}
	cfg := Config{Heard: g.hear, Endpoint: endpoint.Config{Dial: dial, Host: host, Identity: d.Identity(),
		Organisation: d.Organisation, Root: d.Root, Meeting: meeting,
		Client: signal.Client{Kind: "headless", Name: "test", Version: "0"}, Emit: g.emit}}
	for _, f := range change {
		f(&cfg)
	}
	if g.Client, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.done <- g.Run(ctx) }()
	t.Cleanup(g.stop)
	return g
}

func (g *guest) stop() {
	g.cancel()
	select {
	case <-g.done:
	case <-time.After(10 * time.Second):
		g.t.Errorf("%s does not end", g.name)
	}
	close(g.done)
}

func (g *guest) emit(e endpoint.Event) {
	if e.State != nil && e.State.State == endpoint.StateChecked {
		g.Join(nil)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

func (g *guest) hear(f Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := voice{f.Leaf, f.Kind}
	g.frames[v] = append(g.frames[v], time.Now())
}

func (g *guest) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = nil
	clear(g.frames)
}

// until waits for a condition, asked under the lock.
func (g *guest) until(what string, limit time.Duration, holds func() bool) {
	g.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		g.mu.Lock()
		ok := holds()
		g.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			g.mu.Lock()
			defer g.mu.Unlock()
			story := ""
			for _, e := range g.events {
				story += " " + e.Kind
				if e.State != nil {
					story += fmt.Sprint(":", e.State.State, e.State.Reasons)
				}
				if e.Alarm != nil {
					story += ":" + e.Alarm.Problem.Code
				}
				if e.Failed != nil {
					story += fmt.Sprint(":", e.Failed.Of, e.Failed.Reason.Code)
				}
			}
			g.t.Fatalf("%s: no %s within %v:%s", g.name, what, limit, story)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (g *guest) inState(s endpoint.State) {
	g.t.Helper()
	g.until(string(s), 10*time.Second, func() bool {
		return slices.ContainsFunc(g.events, func(e endpoint.Event) bool { return e.State != nil && e.State.State == s })
	})
}

// hears waits until frames of so many other members' microphones were opened.
func (g *guest) hears(members int) {
	g.t.Helper()
	g.until(fmt.Sprint("sound of ", members), 10*time.Second, func() bool {
		n := 0
		for v, at := range g.frames {
			if v.kind == slot.Microphone && len(at) > 10 {
				n++
			}
		}
		return n >= members
	})
}

func (g *guest) alarms() (codes []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Alarm != nil {
			codes = append(codes, e.Alarm.Problem.Code)
		}
	}
	return codes
}

// leaf returns the own leaf.
func (g *guest) leaf() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range slices.Backward(g.events) {
		if e.Roster != nil {
			for _, m := range e.Roster.Members {
				if m.Self {
					return m.Leaf
				}
			}
		}
	}
	g.t.Fatal("no leaf")
	return 0
}

// room starts a meeting of so many guests, all in.
func room(t testing.TB, w *servertest.World, n int, change ...func(*Config)) []*guest {
	t.Helper()
	var people []conclave.PersonID
	for i := range n {
		id := conclave.PersonID(fmt.Sprintf("person.%d", i))
		w.AddPerson(id, fmt.Sprintf("Person %d", i))
		people = append(people, id)
	}
	meeting := w.OpenMeeting(people...)
	var all []*guest
	for _, p := range people {
		g := come(t, w, enrolled(t, w, p, meeting), meeting, change...)
		g.inState(endpoint.StateIn)
		all = append(all, g)
	}
	return all
}

// tone is a Sound: a tone of that frequency.
func tone(t testing.TB, hertz float64) Sound {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tone.wav")
	writeTone(t, name, hertz)
	s, err := LoadSound(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMembersHearEachOtherAndTheOneRemovedHearsNothingMore(t *testing.T) {
	w := servertest.Start(t)
	all := room(t, w, 3)
	for _, g := range all {
		g.hears(2)
	}
	removed, rest := all[1], []*guest{all[0], all[2]}
	all[0].Remove(legOf(t, all[0], removed.leaf()), "other")
	removed.inState(endpoint.StateEnded)
	removed.forget()
	for _, g := range rest {
		g.until("the new epoch", 5*time.Second, func() bool {
			return slices.ContainsFunc(g.events, func(e endpoint.Event) bool { return e.Code != nil && e.Code.Why == "removed" })
		})
	}
	time.Sleep(500 * time.Millisecond)
	if n := len(removed.frames); n != 0 {
		t.Errorf("the one removed opened frames of %d streams afterwards", n)
	}
	for _, g := range rest {
		if a := g.alarms(); len(a) > 0 {
			t.Errorf("%s was alarmed: %v", g.name, a)
		}
		g.mu.Lock()
		for v, at := range g.frames {
			if v.leaf == 1 {
				continue // the one removed
			}
			for i := 1; i < len(at); i++ {
				if gap := at[i].Sub(at[i-1]); gap > 200*time.Millisecond {
					t.Errorf("%s heard nothing of leaf %d for %v", g.name, v.leaf, gap)
				}
			}
		}
		g.mu.Unlock()
	}
}

func legOf(t testing.TB, g *guest, leaf uint32) conclave.LegID {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range slices.Backward(g.events) {
		if e.Roster != nil {
			for _, m := range e.Roster.Members {
				if m.Leaf == leaf {
					return m.Leg
				}
			}
		}
	}
	t.Fatal("no such leg")
	return conclave.LegID{}
}

func TestAllAreBackWithSoundAfterTheServerRestarted(t *testing.T) {
	w := servertest.Start(t)
	all := room(t, w, 3)
	for _, g := range all {
		g.hears(2)
		g.forget()
	}
	began := time.Now()
	w.Restart()
	for _, g := range all {
		g.inState(endpoint.StateReconnecting)
		g.inState(endpoint.StateIn)
	}
	for _, g := range all {
		g.mu.Lock()
		clear(g.frames)
		g.mu.Unlock()
		g.hears(2)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("all were back after %v", d)
	} else {
		t.Logf("all were back, with sound, %v after the server was stopped", d)
	}
	for _, g := range all {
		g.mu.Lock()
		if slices.ContainsFunc(g.events, func(e endpoint.Event) bool { return e.Code != nil }) {
			t.Errorf("%s changed keys over the restart", g.name)
		}
		g.mu.Unlock()
		if a := g.alarms(); len(a) > 0 {
			t.Errorf("%s was alarmed: %v", g.name, a)
		}
	}
}

func TestWhatIsSaidAndShownIsRecordedBySpeaker(t *testing.T) {
	w := servertest.Start(t)
	dir := t.TempDir()
	rec, err := NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile("../../cmd/conclave/demo/marta.ivf")
	if err != nil {
		t.Fatal(err)
	}
	w.AddPerson("marta", "Marta Rossi")
	w.AddPerson("anna", "Anna Weber")
	meeting := w.OpenMeeting("marta", "anna")
	video, err := ReadVideo(content, true)
	if err != nil {
		t.Fatal(err)
	}
	marta := come(t, w, enrolled(t, w, "marta", meeting), meeting, func(c *Config) { c.Sound, c.Video = tone(t, 700), video })
	marta.inState(endpoint.StateIn)
	marta.SetState(signal.State{Camera: true})
	anna := come(t, w, enrolled(t, w, "anna", meeting), meeting, func(c *Config) {
		emit, hear := c.Endpoint.Emit, c.Heard
		c.Endpoint.Emit = func(e endpoint.Event) { rec.Event(e); emit(e) }
		c.Heard = func(f Frame) { rec.Frame(f); hear(f) }
	})
	anna.hears(1)
	anna.until("pictures", 10*time.Second, func() bool { return len(anna.frames[voice{0, slot.Camera}]) > 20 })
	time.Sleep(time.Second)
	anna.cancel()
	if err := <-anna.done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	anna.done <- nil
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "Marta-Rossi-0.ogg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := opus.ReadOgg(f)
	if err != nil {
		t.Fatal(err)
	}
	if hz := pitch(t, list); hz < 690 || hz > 710 {
		t.Errorf("the tone of 700 Hz was recorded at %.0f Hz", hz)
	}
	recorded, err := LoadVideo(filepath.Join(dir, "Marta-Rossi-0.ivf"), false)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(recorded.(*pictures).frames); n < 20 {
		t.Errorf("%d pictures were recorded", n)
	}
}
