package endpoint

import (
	"crypto/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/escrow"
	"conclave/escrow/speech"
	"conclave/pass"
	"conclave/signal"
)

// investigated gives the house an investigation key that its root vouches for, or not.
func investigated(t *testing.T, h *house, vouched bool) *escrow.Key {
	t.Helper()
	key, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	grants := slices.Clone(h.org.Grants)
	if vouched {
		id := key.ID()
		g, err := pass.SignGrant(h.org.Root, &pass.Grant{Organisation: h.org.ID, Role: pass.RoleInvestigation, Key: id[:],
			NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, g)
	}
	h.lie.admitted = func(a *signal.Admitted) {
		a.Grants = grants
		a.Investigation = &signal.Investigation{Key: key.Public(), Sync: make([]byte, 32)}
	}
	return key
}

// opened opens what the house was handed of a client's ledger, by minute.
func opened(t *testing.T, h *house, key *escrow.Key, leg conclave.LegID) map[uint32]*speech.Block {
	t.Helper()
	out := map[uint32]*speech.Block{}
	h.locked(func() {
		for _, m := range h.ledgers {
			b, err := speech.Open(key, h.meeting.Meeting, leg, m.Minute, m.Sealed)
			if err != nil {
				t.Fatal(err)
			}
			out[m.Minute] = b
		}
	})
	return out
}

func TestTheLedgerTellsWhenTheOwnPersonSpokeAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		key := investigated(t, h, true)
		anna := h.in(h.device(h.org, "anna"))
		began := time.Now()
		say := func(from, to time.Duration) {
			time.Sleep(time.Until(began.Add(to)))
			anna.Spoke(began.Add(from), began.Add(to))
		}
		say(10*time.Second, 12*time.Second)
		say(12*time.Second, 13*time.Second)                               // goes on
		say(58*time.Second, 61*time.Second)                               // over the minute's end
		time.Sleep(time.Until(began.Add(2*time.Minute + 30*time.Second))) // silence
		anna.Spoke(began.Add(5*time.Second), began.Add(6*time.Second))    // too late: that minute is closed
		say(185*time.Second, 200*time.Second)
		time.Sleep(time.Until(began.Add(210 * time.Second)))
		var leg conclave.LegID
		h.locked(func() { leg = h.legOf(anna.device).id })
		anna.Leave()
		<-anna.done
		synctest.Wait()
		blocks := opened(t, h, key, leg)
		var got []spoken
		for minute := range uint32(4) {
			b := blocks[minute]
			if b == nil {
				t.Fatalf("minute %d is missing of %d", minute, len(blocks))
			}
			for _, s := range b.Spans {
				got = append(got, spoken{int64(minute)*minuteMS + int64(s.From), int64(minute)*minuteMS + int64(s.To)})
			}
			if minute < 3 && b.Until != 60_000 || minute == 3 && (b.Until < 29_900 || b.Until > 30_100) {
				t.Errorf("minute %d ends at %d", minute, b.Until)
			}
		}
		want := []spoken{{10_000, 13_000}, {58_000, 60_000}, {60_000, 61_000}, {185_000, 200_000}}
		if len(got) != len(want) || len(blocks) != 4 {
			t.Fatalf("%v in %d blocks, want %v", got, len(blocks), want)
		}
		for i := range want {
			if d := max(got[i].from-want[i].from, want[i].from-got[i].from, got[i].to-want[i].to, want[i].to-got[i].to); d > 50 {
				t.Errorf("span %v, want %v", got[i], want[i])
			}
		}
		h.locked(func() {
			for _, m := range h.ledgers {
				if len(m.Sealed) != speech.SealedSize {
					t.Errorf("minute %d has %d bytes", m.Minute, len(m.Sealed))
				}
			}
		})
	})
}

func TestBlocksThatTheLineLostAreHandedInAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		key := investigated(t, h, true)
		anna := h.in(h.device(h.org, "anna"))
		jan := h.in(h.device(h.org, "jan"))
		began := time.Now()
		time.Sleep(55 * time.Second)
		anna.Spoke(began.Add(20*time.Second), began.Add(25*time.Second))
		h.locked(func() {
			h.down = true
			h.legOf(anna.device).conn.Close()
		})
		time.Sleep(30 * time.Second)
		h.locked(func() { h.down = false })
		anna.await("back", func(e Event) bool { return e.State != nil && e.State.State == StateReconnecting })
		time.Sleep(30 * time.Second)
		var leg conclave.LegID
		h.locked(func() {
			leg = h.legOf(anna.device).id
			h.ledgers = slices.DeleteFunc(h.ledgers, func(m signal.Ledger) bool {
				_, err := speech.Open(key, h.meeting.Meeting, leg, m.Minute, m.Sealed)
				return err != nil // jan's
			})
		})
		if b := opened(t, h, key, leg)[0]; b == nil || len(b.Spans) != 1 {
			t.Errorf("the first minute came as %+v", b)
		}
		anna.stop()
		jan.stop()
	})
}

func TestNobodySealsToAKeyThatTheRootDoesNotVouchFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		investigated(t, h, false)
		anna := h.client(h.device(h.org, "anna"))
		anna.await("the alarm", func(e Event) bool { return e.Alarm != nil && e.Alarm.Problem.Code == "alarm_investigation" })
		anna.await("in", isState(StateIn))
		anna.Spoke(time.Now().Add(-time.Second), time.Now())
		time.Sleep(3 * time.Minute)
		anna.stop()
		if len(h.ledgers) != 0 {
			t.Errorf("%d blocks were handed in", len(h.ledgers))
		}
	})
}

func TestReportsOfSpeechAreBounded(t *testing.T) {
	l := ledger{key: []byte{1}, began: time.Unix(1000, 0)}
	now := l.began.Add(59 * time.Second)
	for i := range 20_000 {
		l.note(l.began.Add(time.Duration(2*i)*time.Millisecond), l.began.Add(time.Duration(2*i+1)*time.Millisecond), now)
	}
	if len(l.spans) > ledgerSpans || l.spans[len(l.spans)-1].to != 39_999 {
		t.Errorf("%d spans, the last to %d", len(l.spans), l.spans[len(l.spans)-1].to)
	}
	l.note(l.began.Add(time.Hour), l.began.Add(2*time.Hour), now)
	if l.spans[len(l.spans)-1].to > 59_000 {
		t.Error("speech in the future was noted")
	}
}
