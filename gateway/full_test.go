package gateway_test

import (
	"testing"

	"conclave/gateway"
	"conclave/phone/prompt"
)

// Who calls while all lines are in use is told so before the call costs anything, and not let in to be heard badly; those who are there stay.
func TestWhoCallsWhileAllLinesAreInUseIsToldSo(t *testing.T) {
	t.Parallel()
	h := build(t, options{change: func(g *gateway.Config) { g.Calls = 1 }})
	_ = h.code()
	one := ring(t, exchange(t, loopback, h.sip["udp"]), nil)
	b := newPhone(t, pcma, callersVoice())
	h.once("refused_early", func() { b.dial(h, pcma, "door") })
	b.hears(prompt.English, prompt.Full)
	b.until("503 Service Unavailable")
	h.until("the second call to end", func() bool { return h.gateway.Stats().Legs == 1 })
	one.call.Hang()
	h.until("the first call to end", func() bool { return h.gateway.Stats().Legs == 0 })
	h.once("language", func() { b.dial(h, pcma, "door") }) // there is room again
	b.hangUp()
}
