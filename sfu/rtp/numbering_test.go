package rtp

import (
	"math/rand/v2"
	"testing"
	"time"

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
		var st Numbering
		e := ear{sealed: map[uint64]uint64{}}
		lane, present, away := uint64(FirstIndex)+uint64(run)*9000, true, 0
		highest := lane
		for range 300_000 {
			previous := highest
			lane++
			switch r := random.IntN(100_000); {
			case r < 20: // the publisher has lost some
				lane += uint64(random.IntN(MaxLate))
			case r < 40: // the receiver is away: it owns the slot, or it is cut
				present, away = false, random.IntN(200_000)
			}
			index := lane
			if random.IntN(50) == 0 && lane > 40+FirstIndex {
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
			if out, ok := st.Next(index, previous); ok {
				e.hear(t, out, index, random.IntN(20) != 0)
				if back, own, ok := st.Back(uint16(out)); !ok || back != index || own != out {
					t.Fatalf("lane index %d comes back as %d and %d, %v", index, back, own, ok)
				}
			}
		}
	}
}

func TestAReceiverSeesNoGapAfterAnAbsence(t *testing.T) {
	var st Numbering
	a, _ := st.Next(100, 99)
	if a != FirstIndex {
		t.Fatalf("first index %d", a)
	}
	b, _ := st.Next(101, 100)
	// Away for more than a rollover.
	c, _ := st.Next(101+70_000, 100+70_000)
	if b != a+1 || c != b+1 {
		t.Fatalf("indices %d %d %d", a, b, c)
	}
	if _, ok := st.Next(50_000, 101+70_000); ok {
		t.Fatal("a packet from the absence was given an index")
	}
	if _, _, ok := st.Back(uint16(b)); ok {
		t.Fatal("a packet from before the absence can be asked for")
	}
}

func TestLostVideoIsAskedForAndForgottenInTime(t *testing.T) {
	var g Gaps
	g.Note(10, 9, 0)
	g.Note(14, 10, 0) // 11, 12, 13 missing
	g.Note(12, 14, time.Millisecond)
	var asked []uint16
	ask := func(seq uint16) { asked = append(asked, seq) }
	g.Due(5*time.Millisecond, ask)
	if len(asked) != 0 {
		t.Fatalf("asked for %v before reordering had its time", asked)
	}
	g.Due(10*time.Millisecond, ask)
	if len(asked) != 2 || asked[0]+asked[1] != 24 {
		t.Fatalf("asked for %v, want 11 and 13", asked)
	}
	for at := 20 * time.Millisecond; at < 2*time.Second; at += 10 * time.Millisecond {
		g.Due(at, ask)
	}
	if len(asked) != 2*gapTries || g.n != 0 {
		t.Fatalf("asked %d times, %d still missing", len(asked), g.n)
	}
	g.Note(14+gapTooLarge+1, 14, 0)
	if g.n != 0 {
		t.Fatal("a pause was taken for loss")
	}
}

func TestReceiptsCountLoss(t *testing.T) {
	var r Receipt
	for i := range uint64(200) {
		if i%4 != 0 || i < 100 {
			r.Note(i, uint32(i)*960, AudioClock, time.Duration(i)*20*time.Millisecond)
		}
		if i == 99 {
			if share, lost := r.Interval(); share != 0 || lost != 0 {
				t.Fatalf("share %d lost %d without loss", share, lost)
			}
		}
	}
	if share, lost := r.Interval(); share != 64 || lost != 25 {
		t.Fatalf("share %d/256, lost %d; want a quarter, 25", share, lost)
	}
	if r.jitter>>4 > 48 {
		t.Fatalf("jitter %d of a steady stream", r.jitter>>4)
	}
}
