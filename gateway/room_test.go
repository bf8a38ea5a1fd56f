package gateway_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/gateway"
	"conclave/phone/dsp"
	"conclave/phone/prompt"
	"conclave/phone/sip"
	"conclave/signal"
)

// What a phone leg does to the room that it is in, and the room to it.

// forget has a member forget what was heard so far.
func (m *member) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.heard)
}

// listens waits until a member has heard a sound since it last forgot; both at 48 kHz.
func (h *house) listens(m *member, what string, said []int16, atLeast float64) {
	h.t.Helper()
	piece, best, seconds := downsample(said, 8000), 0.0, 20
	for deadline := time.Now().Add(60 * time.Second); best < atLeast && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		all := m.all()
		heard := downsample(all[max(0, len(all)-seconds*48000):], 8000)
		seconds = 5 // what is older was looked through
		if len(piece) < 8000 {
			best = max(best, place(piece, heard))
		} else {
			best = max(best, like(piece, heard))
		}
	}
	h.t.Logf("the room heard %s: %.3f", what, best)
	if best < atLeast {
		h.t.Errorf("the room did not hear %s", what)
	}
}

// reminderTone is the tone that a room hears at intervals, at 48 kHz.
func reminderTone() (out []int16) {
	source := dsp.Tones(dsp.Reminder)
	for f := (dsp.Frame{}); source.Next(&f); {
		out = append(out, f[:]...)
	}
	return out
}

func TestARoomIsRemindedAndALegsTimeEnds(t *testing.T) {
	t.Parallel()
	h := build(t, options{change: func(g *gateway.Config) { g.Reminder, g.TimeLimit = 10*time.Second, 26*time.Second }})
	b := newPhone(t, pcma, nil) // who says nothing, so that the tone is heard alone
	code := h.code()
	b.dial(h, pcma, "door")
	quick(h, b, code)
	h.until("the phone to be in", func() bool { return h.gateway.Stats().In == 1 })
	began := time.Now()
	b.hears(prompt.English, prompt.Soon) // less than a minute is left from the beginning
	time.Sleep(max(0, 8*time.Second-time.Since(began)))
	h.chair.forget() // the announcement is over
	if c := place(downsample(reminderTone(), 8000), downsample(sentence(prompt.English, prompt.Joined), 8000)); c > 0.6 {
		t.Fatalf("the tone is like the announcement: %.3f", c)
	}
	h.listens(h.chair, "the tone", reminderTone(), 0.8)
	b.hears(prompt.English, prompt.Time)
	h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 && h.chair.phone() == nil })
	if d := time.Since(began); d < 26*time.Second {
		t.Errorf("its time ended after %v", d)
	}
	if !strings.Contains(h.log.String(), `"outcome":"time"`) {
		t.Error("the log does not say so")
	}
}

// At INTERNAL a hop may be let in, and cannot see a screen: what is shown ends, and nobody shows anything until it is gone. A pause stops
// the phone too.
func TestAPhoneClosesTheScreenAndIsPausedWithTheRoom(t *testing.T) {
	t.Parallel()
	l := line{network: sip.TLS, codec: "PCMA/8000/1", rate: 8000, media: "srtp-mand", from: newCertificate(t)}
	h := build(t, options{level: 1, change: withCertificate(l)})
	chairs := func(f func(m *member) bool) func() bool {
		return func() bool { h.chair.mu.Lock(); defer h.chair.mu.Unlock(); return f(h.chair) }
	}
	shows := func(m *member) bool {
		return slices.ContainsFunc(m.roster.Members, func(one endpoint.Member) bool { return one.Self && one.Screen })
	}
	closed := func(m *member) bool { return slices.Contains(m.roster.Closed, "screen") }
	h.chair.SetState(signal.State{Screen: true})
	h.until("the screen to be shown", chairs(shows))
	b := newPhone(t, l, callersVoice())
	code := h.code()
	b.dial(h, l, "door")
	quick(h, b, code)
	h.until("the phone to be in", func() bool { return h.gateway.Stats().In == 1 && h.chair.phone() != nil })
	if p := h.chair.phone(); p.Grade != conclave.GradeHop {
		t.Errorf("the grade is %v", p.Grade)
	}
	h.until("the screen to be closed", chairs(func(m *member) bool { return closed(m) && !shows(m) && slices.Contains(m.failed, "screen_closed") }))
	h.chair.mu.Lock()
	h.chair.failed = nil
	h.chair.mu.Unlock()
	h.chair.SetState(signal.State{Screen: true})
	h.until("the screen to stay closed", chairs(func(m *member) bool { return slices.Contains(m.failed, "screen_closed") && !shows(m) }))

	h.chair.Pause(true, false)
	h.until("the phone to be paused", func() bool { return h.gateway.Stats().In == 0 })
	b.hears(prompt.English, prompt.Paused)
	if h.chair.phone() == nil || h.gateway.Stats().Legs != 1 {
		t.Error("a pause put the phone out")
	}
	h.chair.forget()
	h.chair.Pause(false, false)
	h.until("the phone to go on", func() bool { return h.gateway.Stats().In == 1 })
	b.hears(prompt.English, prompt.Resumed)
	h.listens(h.chair, "the caller after the pause", callersVoice(), 0.6)

	// The chair mutes all: the gateway does it for the caller, who hears how to be heard again.
	mutedPhone := func() bool {
		h.chair.mu.Lock()
		defer h.chair.mu.Unlock()
		return slices.ContainsFunc(h.chair.roster.Members, func(one endpoint.Member) bool { return one.Gateway && one.Muted })
	}
	h.chair.Preside("mute_all", conclave.LegID{})
	h.until("the phone to be muted", mutedPhone)
	b.hears(prompt.English, prompt.Muted)
	h.chair.forget()
	time.Sleep(3 * time.Second)
	if got := like(downsample(callersVoice(), 8000), downsample(h.chair.all(), 8000)); got > 0.3 {
		t.Errorf("the room hears a caller who is muted: %.3f", got)
	}
	b.press("1")
	b.hears(prompt.English, prompt.Unmuted)
	h.listens(h.chair, "the caller after they pressed 1", callersVoice(), 0.6)
	if mutedPhone() {
		t.Error("the phone is still shown as muted")
	}

	b.hangUp()
	h.until("the screen to be free", chairs(func(m *member) bool { return !closed(m) }))
	h.chair.SetState(signal.State{Screen: true})
	h.until("the screen to be shown again", chairs(shows))
}
