package headless

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/server/servertest"
	"conclave/sfu/slot"
	"conclave/signal"
)

// never is a sound that is never silence.
type never struct{ packet []byte }

func (n never) Next() []byte { return n.packet }

func TestWhoIsMutedByTheChairSendsSilenceAtTheSameRateUntilTheySpeakAgain(t *testing.T) {
	w := servertest.Start(t)
	speech := slices.Clone(silence)
	speech[len(speech)-1] ^= 1
	var said, silent atomic.Int64 // by the member, as the chair opens it
	guests := room(t, w, 2, func(c *Config) {
		hear := c.Heard
		c.Sound = never{speech}
		c.Heard = func(f Frame) {
			if f.Kind == slot.Microphone && f.Leaf == 1 {
				if slices.Equal(f.Data, speech) {
					said.Add(1)
				} else if slices.Equal(f.Data, silence) {
					silent.Add(1)
				}
			}
			hear(f)
		}
	})
	chair, member := guests[0], guests[1]
	for _, g := range guests {
		g.hears(1)
	}
	muted := func(want bool) func() bool {
		return func() bool {
			for _, e := range slices.Backward(member.events) {
				if e.Roster != nil {
					return slices.ContainsFunc(e.Roster.Members, func(m endpoint.Member) bool { return m.Self && m.Muted == want })
				}
			}
			return false
		}
	}
	chair.Preside("mute_all", conclave.LegID{})
	member.until("that it is muted", 5*time.Second, muted(true))
	time.Sleep(200 * time.Millisecond) // what was on its way
	said.Store(0)
	silent.Store(0)
	time.Sleep(time.Second)
	if s, n := said.Load(), silent.Load(); s != 0 || n < 40 || n > 60 {
		t.Errorf("in a second it sends %d packets of speech and %d of silence", s, n)
	}
	member.until("the room", time.Second, func() bool { return true })
	if err := member.SetState(signal.State{}); err != nil {
		t.Fatal(err)
	}
	member.until("that it speaks again", 5*time.Second, muted(false))
	time.Sleep(200 * time.Millisecond)
	said.Store(0)
	time.Sleep(500 * time.Millisecond)
	if said.Load() < 15 {
		t.Errorf("%d packets of speech in half a second", said.Load())
	}
	// Once for each time: what the chair asked before does not mute again, and the chair itself is not muted.
	if chair.silent() || member.silent() {
		t.Error("somebody is muted still")
	}
}
