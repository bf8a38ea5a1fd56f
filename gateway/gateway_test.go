package gateway_test

import (
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/phone/prompt"
)

// enter takes a telephone through language, code and consent.
func enter(b *baresip, code string, warning prompt.Name) {
	b.t.Helper()
	b.hears(prompt.German, prompt.Choose)
	b.press("2")
	b.hears(prompt.English, prompt.Code)
	b.press(code)
	b.hears(prompt.English, warning)
	b.press("1")
}

func TestACallerIsWarnedAskedAnnouncedAndHeard(t *testing.T) {
	h := build(t, options{})
	b := newPhone(t, pcma, callersVoice())
	code := h.code()
	b.dial(h, pcma, "door")
	enter(b, code, prompt.Warning)
	h.until("the phone to be in", func() bool { return h.chair.phone() != nil })
	p := h.chair.phone()
	if p.Grade != conclave.GradeOpen || p.Name != "Bert Maier" || !p.Gateway || p.Kind != "phone" {
		t.Errorf("the roster says %+v", p)
	}
	b.hears(prompt.English, prompt.Admitted)
	for what, said := range map[string][]int16{"the announcement": sentence(prompt.English, prompt.Joined), "the caller": callersVoice()} {
		best := 0.0
		for deadline := time.Now().Add(20 * time.Second); best < 0.7 && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
			best = like(downsample(said, 8000), downsample(h.chair.all(), 8000))
		}
		t.Logf("the room heard %s: correlation %.3f", what, best)
		if best < 0.7 {
			t.Errorf("the room did not hear %s", what)
		}
	}
	best := 0.0
	for deadline := time.Now().Add(20 * time.Second); best < 0.7 && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		best = like(downsample(chairsVoice(), 8000), b.heard())
	}
	t.Logf("the caller heard the chair: correlation %.3f", best)
	if best < 0.7 {
		t.Error("the caller did not hear the room")
	}
	b.hangUp()
	h.until("the phone to be gone", func() bool { return h.chair.phone() == nil && h.gateway.Stats().Legs == 0 })
	h.chair.mu.Lock()
	defer h.chair.mu.Unlock()
	if len(h.chair.alarms) > 0 {
		t.Errorf("alarms: %v", h.chair.alarms)
	}
	if h.records(audit.KindCall, "done") != 1 {
		t.Error("no record of the call's end")
	}
	_ = endpoint.StateIn
}
