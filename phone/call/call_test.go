package call

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave/phone/prompt"
)

var began = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// text writes effects in a line.
func text(effects []Effect) string {
	var out []string
	for _, e := range effects {
		s := strings.TrimPrefix(fmt.Sprintf("%T", e), "call.")
		switch e := e.(type) {
		case Say:
			for _, one := range e.Sentences {
				s += " " + string(one.Language) + "/" + string(one.Name)
			}
		case Bridge:
			s += map[bool]string{true: " open", false: " shut"}[e.Open]
		case Mute:
			s += map[bool]string{true: " on", false: " off"}[e.On]
		case Announce:
			s += [...]string{" joined", " reminder"}[e.What]
		case Refuse:
			s += fmt.Sprint(" ", e.Code)
		case Over:
			s += " " + e.Outcome
		case Ask:
			s += " " + e.Code
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

// course plays events, each with what it must bring; a number of seconds first where time passes.
type step struct {
	after time.Duration
	event Event
	want  string
}

func play(t *testing.T, c *Call, steps ...step) {
	t.Helper()
	now := began
	for i, s := range steps {
		now = now.Add(s.after)
		if _, ok := s.event.(Spoken); ok {
			s.event = Spoken{c.turn}
		}
		if got := text(c.Do(now, s.event)); got != s.want {
			t.Fatalf("step %d, %T in %v:\n got %q\nwant %q", i+1, s.event, c.State(), got, s.want)
		}
	}
}

var config = Config{Default: prompt.English, EarlyMedia: true, Limit: time.Hour, Reminder: time.Minute}

// keys are the steps of a code that is typed.
func keys(code string) []step {
	var out []step
	for i := range len(code) {
		want := "Beep"
		if i == codeDigits-1 {
			want = "Beep; Ask " + code
		}
		out = append(out, step{0, Key{code[i]}, want})
	}
	return out
}

const code = "123456789012"

// upTo plays a call up to the door.
func upTo(t *testing.T, c *Call) {
	t.Helper()
	play(t, c, slices.Concat([]step{
		{0, Screened{Ask: true}, "Answer"},
		{0, Answered{}, "Say de/language en/language fr/language"},
		{0, Key{'2'}, "Say en/code"},
	}, keys(code), []step{
		{0, Verdict{Right: true}, "Say en/warning"},
		{0, Spoken{}, "Say en/consent"},
		{0, Key{'1'}, "Beep; Enter"},
	})...)
}

func TestACallGoesThroughItsDoors(t *testing.T) {
	c := New(config, began)
	upTo(t, c)
	play(t, c,
		step{0, Room{RoomWaiting}, "Say en/waiting"},
		step{0, Room{RoomIn}, "Announce joined; Say en/admitted; Bridge open"},
		step{61 * time.Second, Tick{}, "Announce reminder"},
		step{0, Hold{true}, "Bridge shut"},
		step{0, Hold{false}, "Bridge open"},
		step{0, Room{RoomPaused}, "Bridge shut; Say en/paused"},
		step{0, Room{RoomResumed}, "Say en/resumed; Bridge open"},
		step{0, Key{'1'}, ""},
		step{0, Room{RoomMuted}, "Mute on; Say en/muted"},
		step{0, Key{'2'}, ""},
		step{0, Room{RoomPaused}, "Bridge shut; Say en/paused"},
		step{0, Key{'1'}, ""},
		step{0, Room{RoomResumed}, "Say en/muted; Bridge open"},
		step{0, Key{'1'}, "Beep; Mute off; Say en/unmuted"},
		step{0, Key{'1'}, ""},
		step{0, Hungup{}, "Bridge shut; Leave; Over left"},
	)
}

func TestEveryEndIsSpokenAndTheRoomIsGoneBefore(t *testing.T) {
	for what, want := range map[RoomEvent]string{
		RoomRaised: "raised", RoomRemoved: "removed", RoomDeclined: "declined", RoomRefused: "refused", RoomOver: "over", RoomFailed: "failed",
	} {
		c := New(config, began)
		upTo(t, c)
		play(t, c, step{0, Room{RoomIn}, "Announce joined; Say en/admitted; Bridge open"},
			step{0, Room{what}, "Bridge shut; Leave; Say en/" + want})
		if got := text(c.Do(began, Spoken{c.turn})); !strings.HasPrefix(got, "Hang; Over ") {
			t.Errorf("%s: %q", want, got)
		}
	}
}

func TestARefusalIsSpokenBeforeTheCallCostsAnything(t *testing.T) {
	play(t, New(config, began),
		step{0, Screened{Why: prompt.Unknown}, "Early; Say en/ en/unknown de/ de/unknown fr/ fr/unknown"},
		step{0, Spoken{}, "Refuse 403; Over refused"})
	chosen := config
	chosen.Chosen = prompt.French
	play(t, New(chosen, began), step{0, Screened{Why: prompt.Unknown}, "Early; Say fr/ fr/unknown"}, step{0, Hungup{}, "Over refused"})
	answered := config
	answered.EarlyMedia = false
	play(t, New(answered, began), step{0, Screened{Why: prompt.Full}, "Answer; Say en/ en/full de/ de/full fr/ fr/full"}, step{0, Spoken{}, "Hang; Over refused"})
}

func TestWrongCodesEndTheCall(t *testing.T) {
	c := New(config, began)
	play(t, c, step{0, Screened{Ask: true}, "Answer"}, step{0, Answered{}, "Say de/language en/language fr/language"},
		step{0, Spoken{}, ""}, step{7 * time.Second, Tick{}, "Say en/code"})
	play(t, c, keys(code)...)
	play(t, c, step{0, Verdict{Left: 2}, "Say en/wrong"})
	play(t, c, step{0, Key{'5'}, "Beep"}, step{0, Key{'*'}, "Beep"})
	play(t, c, keys(code)...)
	play(t, c, step{0, Verdict{Left: 0}, "Say en/locked"}, step{0, Key{'1'}, ""}, step{0, Spoken{}, "Hang; Over no_code"})
}

func TestARefusedCallerMayAskToBeRung(t *testing.T) {
	c := New(config, began)
	play(t, c, step{0, Screened{Ask: true}, "Answer"}, step{0, Answered{}, "Say de/language en/language fr/language"}, step{0, Key{'1'}, "Say de/code"})
	play(t, c, keys(code)...)
	play(t, c, step{0, Verdict{Right: true, Refused: true, CallBack: true}, "Say de/ de/refused de/ringback"}, step{0, Spoken{}, ""},
		step{0, Key{'2'}, "Say de/ringing"}, step{0, Key{'2'}, ""}, step{10 * time.Second, Tick{}, ""}, step{0, Spoken{}, "Hang; RingBack; Over refused"})
	// In the middle of the sentence, and by one who hangs up at once: the telephone is free when it is rung.
	for last, want := range map[Event]string{Spoken{}: "Hang; RingBack; Over refused", Hungup{}: "RingBack; Over refused"} {
		c := New(config, began)
		play(t, c, step{0, Screened{Ask: true}, "Answer"}, step{0, Answered{}, "Say de/language en/language fr/language"}, step{0, Key{'1'}, "Say de/code"})
		play(t, c, keys(code)...)
		play(t, c, step{0, Verdict{Right: true, Refused: true, CallBack: true}, "Say de/ de/refused de/ringback"},
			step{0, Key{'2'}, "Say de/ringing"}, step{0, last, want})
	}
}

func TestACallBackAsksWhoItIsThenWarnsThenAsksForConsent(t *testing.T) {
	out := config
	out.Outgoing, out.Hop = true, true
	play(t, New(out, began), step{0, Taken{}, "Say en/callback"}, step{0, Key{'7'}, ""}, step{0, Key{'1'}, "Say en/hop"}, step{0, Key{'1'}, ""},
		step{0, Spoken{}, "Say en/consent"}, step{0, Key{'1'}, "Beep; AskKey"},
		step{0, Verdict{Right: true}, "Enter"}, step{0, Room{RoomIn}, "Announce joined; Say en/admitted; Bridge open"})
	play(t, New(out, began), step{0, Taken{}, "Say en/callback"}, step{0, Spoken{}, ""}, step{16 * time.Second, Tick{}, "Hang; Over no_consent"})
	play(t, New(out, began), step{61 * time.Second, Tick{}, "Hang; Over unanswered"})
}

func TestAKeyIsNoConsentBeforeTheWarningIsOut(t *testing.T) {
	c := New(config, began)
	play(t, c, step{0, Screened{Ask: true}, "Answer"}, step{0, Answered{}, "Say de/language en/language fr/language"}, step{0, Key{'2'}, "Say en/code"})
	before := c.turn // the question for the code ends when the warning has begun
	play(t, c, keys(code)...)
	play(t, c, step{0, Verdict{Right: true}, "Say en/warning"}, step{0, Key{'1'}, ""})
	if got := text(c.Do(began, Spoken{before})); got != "" {
		t.Errorf("the end of another sentence counts as that of the warning: %s", got)
	}
	play(t, c, step{0, Key{'1'}, ""}, step{0, Spoken{}, "Say en/consent"}, step{0, Key{'1'}, "Beep; Enter"})
}

func TestACallerMayHoldUsAtAnyTime(t *testing.T) {
	// At the door: the leg is let in, and the way opens when the caller is back.
	c := New(config, began)
	upTo(t, c)
	play(t, c, step{0, Room{RoomWaiting}, "Say en/waiting"}, step{0, Hold{true}, ""})
	if !c.OnHold() {
		t.Error("nobody knows that we are held")
	}
	play(t, c, step{0, Room{RoomIn}, "Announce joined; Say en/admitted"}, step{0, Room{RoomAway}, "Bridge shut"}, step{0, Room{RoomIn}, ""},
		step{0, Hold{false}, "Bridge open"}, step{0, Hold{false}, ""})
	// While they are warned: they heard nothing of it.
	c = New(config, began)
	play(t, c, step{0, Screened{Ask: true}, "Answer"}, step{0, Answered{}, "Say de/language en/language fr/language"}, step{0, Key{'2'}, "Say en/code"})
	play(t, c, keys(code)...)
	play(t, c, step{0, Verdict{Right: true}, "Say en/warning"}, step{0, Hold{true}, ""}, step{0, Spoken{}, "Say en/consent"}, step{0, Key{'1'}, ""},
		step{0, Hold{false}, "Say en/warning"}, step{0, Key{'1'}, ""}, step{0, Spoken{}, "Say en/consent"}, step{0, Key{'1'}, "Beep; Enter"})
}

func TestTimeRunsOut(t *testing.T) {
	c := New(config, began)
	upTo(t, c)
	play(t, c, step{0, Room{RoomIn}, "Announce joined; Say en/admitted; Bridge open"},
		step{59*time.Minute + time.Second, Tick{}, "Announce reminder; Say en/soon"},
		step{time.Minute, Tick{}, "Announce reminder; Bridge shut; Leave; Say en/time"}, step{0, Spoken{}, "Hang; Over time"})
}

func TestALegThatLostTheServerWaitsForItAndKeepsItsTime(t *testing.T) {
	c := New(config, began)
	upTo(t, c)
	play(t, c, step{0, Room{RoomIn}, "Announce joined; Say en/admitted; Bridge open"}, step{0, Room{RoomAway}, "Bridge shut"})
	if next := c.Next(); next != began.Add(doorTime) {
		t.Errorf("the next tick is due after %v", next.Sub(began))
	}
	// The tone that was due meanwhile sounds once when it is back.
	play(t, c, step{2 * time.Minute, Tick{}, ""}, step{0, Room{RoomIn}, "Bridge open"}, step{0, Tick{}, "Announce reminder"}, step{0, Tick{}, ""})
	// And its time ends though the server is away.
	now := began.Add(time.Hour - time.Second)
	c.Do(now, Tick{})
	c.Do(now, Room{RoomAway})
	if next := c.Next(); next != began.Add(time.Hour) {
		t.Errorf("its time ends after %v", next.Sub(began))
	}
	if got := text(c.Do(began.Add(time.Hour), Tick{})); got != "Bridge shut; Leave; Say en/time" {
		t.Errorf("at its end: %q", got)
	}
}

// Whatever happens in whatever order: the way to the room is open only in In, an endpoint that entered leaves, and nothing
// follows the end.
func TestNoOrderOfEventsOpensTheRoomToWhoHasNotConsented(t *testing.T) {
	events := []Event{Screened{Ask: true}, Screened{Why: prompt.Unknown}, Answered{}, Taken{}, Key{'1'}, Key{'2'}, Key{'#'}, Key{'*'}, Verdict{Right: true},
		Verdict{Left: 1}, Verdict{}, Verdict{Right: true, Refused: true, CallBack: true}, Verdict{Failed: true}, Spoken{}, Room{RoomWaiting}, Room{RoomIn}, Room{RoomAway},
		Room{RoomRaised}, Room{RoomRemoved}, Room{RoomOver}, Room{RoomPaused}, Room{RoomResumed}, Room{RoomMuted}, Hold{true}, Hold{false}, Tick{}, Tick{}, Hungup{}, Lost{}, Drain{}}
	r := rand.New(rand.NewSource(1))
	reached := map[State]int{}
	for range 200_000 {
		cfg := config
		cfg.Outgoing, cfg.Hop, cfg.EarlyMedia = r.Intn(4) == 0, r.Intn(2) == 0, r.Intn(2) == 0
		c, now := New(cfg, began), began
		open, entered, warned, consented, over := false, false, false, false, false
		for range 60 {
			now = now.Add(time.Duration(r.Intn(20)) * time.Second)
			e := events[r.Intn(len(events))]
			if _, ok := e.(Spoken); ok && r.Intn(4) > 0 { // else of something else
				e = Spoken{c.turn}
				warned = warned || c.State() == Warned
			}
			if c.State() == Code && r.Intn(2) == 0 {
				for range 11 {
					c.Do(now, Key{'3'})
				}
			}
			if k, ok := e.(Key); ok && k.Digit == '1' && c.State() == Consent {
				if !warned {
					t.Fatal("consent is asked for before the warning")
				}
				consented = true
			}
			for _, f := range c.Do(now, e) {
				if over {
					t.Fatalf("%T after the end", f)
				}
				switch f := f.(type) {
				case Bridge:
					open = f.Open
				case Enter:
					entered = true
					if !consented {
						t.Fatal("a leg enters without consent")
					}
				case Leave:
					entered = false
				case Over:
					over = true
				}
			}
			if _, ok := e.(Tick); ok && !c.Next().IsZero() && !c.Next().After(now) {
				t.Fatalf("in %v a tick leaves what was due: the leg would do nothing else", c.State())
			}
			if open && (c.State() != In || !consented || !entered) {
				t.Fatalf("the room is open in %v", c.State())
			}
			if over && entered {
				t.Fatal("an endpoint stayed behind")
			}
			reached[c.State()]++
		}
	}
	for s := Invited; s <= Ended; s++ {
		if reached[s] == 0 {
			t.Errorf("%v was never reached: nothing is known of it", s)
		}
	}
}

func TestKeysThatStandInNoCodeAreNotSentToTheServer(t *testing.T) {
	c := New(Config{Default: prompt.English, Chosen: prompt.English}, began)
	play(t, c, step{0, Screened{Ask: true}, "Answer"}, step{0, Answered{}, "Say en/code"})
	for _, digit := range []byte("ABCD\x00\xff") {
		play(t, c, step{0, Key{digit}, ""})
	}
	play(t, c, step{0, Key{'#'}, ""}, step{0, Key{'7'}, "Beep"}, step{0, Key{'A'}, ""}, step{0, Key{'#'}, "Beep; Ask 7"})
}
