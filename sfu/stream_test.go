package sfu

import (
	"math/rand/v2"
	"testing"
	"time"

	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

// ear is a receiver as libsrtp is one: it guesses each packet's index from the greatest it has opened.
type ear struct {
	window srtp.Window
	sealed map[uint64]uint64 // index we sealed with, to the lane index it carries
}

func (e *ear) hear(t *testing.T, index, lane uint64, arrives bool) {
	t.Helper()
	if was, ok := e.sealed[index]; ok && was != lane {
		t.Fatalf("index %d sealed for lane index %d and for %d", index, was, lane)
	}
	e.sealed[index] = lane
	if !arrives {
		return
	}
	if guess := e.window.Guess(uint16(index)); guess != index {
		t.Fatalf("sealed with %d, the receiver takes it for %d", index, guess)
	}
	if !e.window.Seen(index) {
		e.window.Accept(index)
	}
}

func TestReceiversGuessTheIndexWeSealWithOverWrapsAbsencesAndLoss(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for run := range 20 {
		var st stream
		e := ear{sealed: map[uint64]uint64{}}
		lane, present, away := uint64(firstIndex)+uint64(run)*9000, true, 0
		highest := lane
		for range 300_000 {
			previous := highest
			lane++
			switch r := random.IntN(100_000); {
			case r < 20: // the publisher has lost some
				lane += uint64(random.IntN(ringSize))
			case r < 40: // the receiver is away: it owns the slot, or it is cut
				present, away = false, random.IntN(200_000)
			}
			index := lane
			if random.IntN(50) == 0 && lane > 40+firstIndex {
				index -= uint64(random.IntN(30)) // late
			}
			highest = max(highest, index)
			lane = highest
			if !present {
				if away--; away < 0 {
					present = true
				}
				continue
			}
			if out, ok := st.next(index, previous); ok {
				e.hear(t, out, index, random.IntN(20) != 0)
				if back, ok := st.back(uint16(out)); !ok || back != index {
					t.Fatalf("lane index %d comes back as %d, %v", index, back, ok)
				}
			}
		}
	}
}

func TestAReceiverSeesNoGapAfterAnAbsence(t *testing.T) {
	var st stream
	a, _ := st.next(100, 99)
	if a != firstIndex {
		t.Fatalf("first index %d", a)
	}
	b, _ := st.next(101, 100)
	// Away for more than a rollover.
	c, _ := st.next(101+70_000, 100+70_000)
	if b != a+1 || c != b+1 {
		t.Fatalf("indices %d %d %d", a, b, c)
	}
	if _, ok := st.next(50_000, 101+70_000); ok {
		t.Fatal("a packet from the absence was given an index")
	}
	if _, ok := st.back(uint16(b)); ok {
		t.Fatal("a packet from before the absence can be asked for")
	}
}

func TestALaneIsContinuousOverSpeakers(t *testing.T) {
	var l lane
	a, b := &inbound{kind: slot.Microphone}, &inbound{kind: slot.Microphone}
	now := time.Second
	l.enter(new(grant), a, 60_000, 1_000_000, now)
	if got := 60_000 + l.base; got != firstIndex {
		t.Fatalf("first lane index %d", got)
	}
	l.highest, l.ts, l.at = 60_010+l.base, 1_009_600+l.tsBase, now+200*time.Millisecond
	before, ts := l.highest, l.ts
	l.enter(new(grant), b, 5, 77, now+time.Second)
	if got := 5 + l.base; got != before+1 {
		t.Fatalf("lane index %d after %d", got, before)
	}
	if got, want := 77+l.tsBase-ts, uint32(800*48); got != want {
		t.Fatalf("timestamp moved by %d, want %d", got, want)
	}
}

func TestAPublishersLeapsAreNotPassedOn(t *testing.T) {
	var l lane
	l.enter(new(grant), &inbound{kind: slot.Microphone}, 10, 0, 0)
	var st stream
	e := ear{sealed: map[uint64]uint64{}}
	at := uint64(10)
	for i := range 1000 {
		at += []uint64{1, 32_000, 1, 1, 500, 2, 30_000}[i%7]
		if at < l.first {
			t.Fatalf("index %d taken for late", at)
		}
		l.close(at)
		previous := l.highest
		l.highest = at + l.base
		if l.highest <= previous || l.highest-previous > ringSize {
			t.Fatalf("lane went from %d to %d", previous, l.highest)
		}
		out, ok := st.next(l.highest, previous)
		if !ok {
			t.Fatal("no index")
		}
		e.hear(t, out, l.highest, i%3 != 0)
	}
}

func TestLostVideoIsAskedForAndForgottenInTime(t *testing.T) {
	var g gaps
	g.note(10, 9, 0)
	g.note(14, 10, 0) // 11, 12, 13 missing
	g.note(12, 14, time.Millisecond)
	var asked []uint16
	ask := func(seq uint16) { asked = append(asked, seq) }
	g.due(5*time.Millisecond, ask)
	if len(asked) != 0 {
		t.Fatalf("asked for %v before reordering had its time", asked)
	}
	g.due(10*time.Millisecond, ask)
	if len(asked) != 2 || asked[0]+asked[1] != 24 {
		t.Fatalf("asked for %v, want 11 and 13", asked)
	}
	for at := 20 * time.Millisecond; at < 2*time.Second; at += 10 * time.Millisecond {
		g.due(at, ask)
	}
	if len(asked) != 2*gapTries || g.n != 0 {
		t.Fatalf("asked %d times, %d still missing", len(asked), g.n)
	}
	g.note(14+gapTooLarge+1, 14, 0)
	if g.n != 0 {
		t.Fatal("a pause was taken for loss")
	}
}

func TestReceiptsCountLoss(t *testing.T) {
	var r receipt
	for i := range uint64(200) {
		if i%4 != 0 || i < 100 {
			r.note(i, uint32(i)*960, audioClock, time.Duration(i)*20*time.Millisecond)
		}
		if i == 99 {
			if share, lost := r.interval(); share != 0 || lost != 0 {
				t.Fatalf("share %d lost %d without loss", share, lost)
			}
		}
	}
	if share, lost := r.interval(); share != 64 || lost != 25 {
		t.Fatalf("share %d/256, lost %d; want a quarter, 25", share, lost)
	}
	if r.jitter>>4 > 48 {
		t.Fatalf("jitter %d of a steady stream", r.jitter>>4)
	}
}

func TestGatheringFollowsTheLoad(t *testing.T) {
	g := gatherer{longest: 5 * time.Millisecond}
	now := time.Duration(0)
	load := func(rate uint64) {
		for range 100 {
			now += 10 * time.Millisecond
			g.flushed(now, rate/100)
		}
	}
	for _, step := range []struct {
		rate uint64
		want time.Duration
	}{{1000, 0}, {20_000, 2 * time.Millisecond}, {12_000, 2 * time.Millisecond}, {100_000, 5 * time.Millisecond},
		{30_000, 5 * time.Millisecond}, {20_000, 2 * time.Millisecond}, {8_000, 0}} {
		if load(step.rate); g.tick != step.want {
			t.Fatalf("at %d packets a second: %v, want %v", step.rate, g.tick, step.want)
		}
	}
	load(100_000)
	if w := g.wait(now + time.Millisecond); w != 4*time.Millisecond {
		t.Fatalf("waits %v after 1 ms", w)
	}
	if w := g.wait(now + 20*time.Millisecond); w > 0 {
		t.Fatalf("waits %v after a quiet moment", w)
	}
	never := gatherer{}
	for range 100 {
		now += 10 * time.Millisecond
		never.flushed(now, 10_000)
	}
	if never.wait(now) != 0 {
		t.Fatal("gathers though it must not")
	}
}
