package sfu

import (
	"testing"
	"time"

	"conclave/sfu/rtp"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

func TestALaneIsContinuousOverSpeakers(t *testing.T) {
	var l lane
	a, b := &inbound{kind: slot.Microphone}, &inbound{kind: slot.Microphone}
	now := time.Second
	l.enter(new(grant), a, 60_000, 1_000_000, now)
	if got := 60_000 + l.base; got != rtp.FirstIndex {
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

func TestAPublishersLeapsAreNotPassedOn(t *testing.T) {
	var l lane
	l.enter(new(grant), &inbound{kind: slot.Microphone}, 10, 0, 0)
	var st rtp.Numbering
	var window srtp.Window
	at := uint64(10)
	for i := range 1000 {
		at += []uint64{1, 32_000, 1, 1, 500, 2, 30_000}[i%7]
		if at < l.first {
			t.Fatalf("index %d taken for late", at)
		}
		l.close(at)
		previous := l.highest
		l.highest = at + l.base
		if l.highest <= previous || l.highest-previous > rtp.MaxLate {
			t.Fatalf("lane went from %d to %d", previous, l.highest)
		}
		out, ok := st.Next(l.highest, previous)
		if !ok {
			t.Fatal("no index")
		}
		if i%3 == 0 {
			continue // lost
		}
		if guess := window.Guess(uint16(out)); guess != out {
			t.Fatalf("sealed with %d, the receiver takes it for %d", out, guess)
		}
		window.Accept(out)
	}
}
