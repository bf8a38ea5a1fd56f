package jitter

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// network says, of packet i, by how much it is delayed, and whether it is lost.
type network func(i int) (delay time.Duration, lost bool)

// result is what a listener heard of a simulated call.
type result struct {
	played, missing, waited, skipped, inserted, wrong int
	delay                                             time.Duration // of the sound that was played last: made to heard
	longest                                           time.Duration
	counts                                            Counts
}

// simulate runs seconds of a call in packets of 20 ms, whose sender's clock is faster by ppm parts in a million, over a
// network. The listener follows all advice at once.
func simulate(seconds int, ppm float64, n network) (r result) {
	b := New(8000)
	start := time.Unix(1000, 0)
	packets := int(float64(seconds*50) * (1 + ppm/1e6))
	type arrival struct {
		at time.Time
		i  int
	}
	var arrivals []arrival
	made := make([]time.Time, packets)
	for i := range packets {
		made[i] = start.Add(time.Duration(float64(i) * 20e6 / (1 + ppm/1e6)))
		if delay, lost := n(i); !lost {
			arrivals = append(arrivals, arrival{made[i].Add(delay), i})
		}
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return a.at.Compare(b.at) })
	last := -1
	double := false
	for now := start; now.Before(start.Add(time.Duration(seconds) * time.Second)); now = now.Add(step) {
		for len(arrivals) > 0 && !arrivals[0].at.After(now) {
			i := arrivals[0].i
			b.Put(arrivals[0].at, uint16(65000+i), uint32(160*i), false, binary.BigEndian.AppendUint32(nil, uint32(i)))
			arrivals = arrivals[1:]
		}
		if double {
			double = false
			continue
		}
		again := true
		for again {
			again = false
			payload, verdict := b.Pop(now)
			switch verdict {
			case Packet:
				i := int(binary.BigEndian.Uint32(payload))
				if i <= last {
					r.wrong++
				}
				last = i
				r.played++
				r.delay = now.Sub(made[i])
				if now.Sub(start) > 5*time.Second {
					r.longest = max(r.longest, r.delay)
				}
			case Missing:
				r.missing++
			case Wait:
				r.waited++
			}
			switch b.Advice() {
			case Skip:
				b.Followed()
				r.skipped++
				again = true
			case Insert:
				b.Followed()
				r.inserted++
				double = true
			}
		}
	}
	r.counts = b.Counts()
	return r
}

func TestAPerfectNetworkCostsTheLeastDelay(t *testing.T) {
	r := simulate(60, 0, func(int) (time.Duration, bool) { return 10 * time.Millisecond, false })
	t.Logf("%+v", r)
	if r.missing > 0 || r.wrong > 0 || r.played < 2990 || r.longest > 10*time.Millisecond+MinDelay+step {
		t.Errorf("%+v", r)
	}
}

func TestJitterIsEvenedOut(t *testing.T) {
	for _, spread := range []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond} {
		random := rand.New(rand.NewPCG(1, 2))
		r := simulate(120, 0, func(int) (time.Duration, bool) {
			return time.Duration(random.Int64N(int64(spread))), false
		})
		t.Logf("%v: %+v", spread, r)
		if share := float64(r.missing) / 6000; share > 0.02 || r.wrong > 0 {
			t.Errorf("%v: %.1f %% missing, %d out of order", spread, 100*share, r.wrong)
		}
		if r.longest > spread+MaxDelay+step {
			t.Errorf("%v: delay up to %v", spread, r.longest)
		}
	}
}

func TestADelayThatGrowsAndFallsIsFollowed(t *testing.T) {
	// A line that has 80 ms more for ten seconds in the middle.
	r := simulate(60, 0, func(i int) (time.Duration, bool) {
		if i > 1000 && i < 1500 {
			return 90 * time.Millisecond, false
		}
		return 10 * time.Millisecond, false
	})
	t.Logf("%+v", r)
	if r.delay > 10*time.Millisecond+MinDelay+2*step {
		t.Errorf("at the end %v: the delay of the bad time has stayed", r.delay)
	}
	if r.missing > 20 || r.wrong > 0 {
		t.Errorf("%d missing, %d out of order", r.missing, r.wrong)
	}
}

func TestAnotherClockIsFollowed(t *testing.T) {
	for _, ppm := range []float64{-500, -100, 100, 500} {
		r := simulate(600, ppm, func(int) (time.Duration, bool) { return 10 * time.Millisecond, false })
		t.Logf("%+.0f ppm: %+v", ppm, r)
		if r.missing > 3 || r.wrong > 0 || r.longest > 120*time.Millisecond {
			t.Errorf("%+.0f ppm: %+v", ppm, r)
		}
		frames := int(600 * ppm / 1e6 * 50)
		if got := r.skipped - r.inserted; got < frames-4 || got > frames+4 {
			t.Errorf("%+.0f ppm: %d frames left out, want about %d", ppm, got, frames)
		}
	}
}

func TestLossIsOneMissingFrameEach(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	lost := 0
	r := simulate(120, 0, func(int) (time.Duration, bool) {
		l := random.IntN(100) < 5
		if l {
			lost++
		}
		return time.Duration(random.Int64N(int64(15 * time.Millisecond))), l
	})
	t.Logf("%d lost: %+v", lost, r)
	if d := r.missing - lost; d < -3 || d > lost/10+3 || r.wrong > 0 {
		t.Errorf("%d lost, %d missing, %d out of order", lost, r.missing, r.wrong)
	}
}

func TestOrderIsPutRight(t *testing.T) {
	r := simulate(60, 0, func(i int) (time.Duration, bool) {
		if i%10 == 3 {
			return 35 * time.Millisecond, false // after its successor
		}
		return 5 * time.Millisecond, false
	})
	t.Logf("%+v", r)
	if r.missing > 5 || r.wrong > 0 || r.counts.Reordered < 250 {
		t.Errorf("%+v", r)
	}
}

func TestABreakEndsInSilenceAndAFreshStart(t *testing.T) {
	r := simulate(60, 0, func(i int) (time.Duration, bool) { return 5 * time.Millisecond, i > 1000 && i < 1250 })
	t.Logf("%+v", r)
	if r.missing > patience+2 || r.waited < 200 || r.delay > 90*time.Millisecond || r.wrong > 0 {
		t.Errorf("%+v", r)
	}
}

func TestDigitsAreNoLoss(t *testing.T) {
	b := New(8000)
	now := time.Unix(1000, 0)
	missing, played := 0, 0
	for i := range 100 {
		b.Put(now, uint16(i), uint32(160*i), i >= 40 && i < 60, []byte{1})
		switch _, v := b.Pop(now); v {
		case Missing:
			missing++
		case Packet:
			played++
		}
		now = now.Add(step)
	}
	if c := b.Counts(); missing > 0 || c.Lost > 0 || played < 75 {
		t.Errorf("%d missing, %d played, %+v", missing, played, c)
	}
}

func TestLongAndShortPacketsAreKept(t *testing.T) {
	// Ten packets of 10 ms for five frames, and packets of 60 ms.
	for _, length := range []int{10, 60} {
		b := New(8000)
		now := time.Unix(1000, 0)
		held, missing, i := 0, 0, 0
		for ms := 0; ms < 20000; ms += 20 {
			for ; i*length <= ms; i++ {
				b.Put(now, uint16(i), uint32(8*length*i), false, []byte{1})
			}
			for held < 20 {
				switch _, v := b.Pop(now); v {
				case Packet:
					held += length
				case Missing:
					missing++
					held += 20
				case Wait:
					held = 20
				}
				if b.Advice() != Keep {
					b.Followed()
				}
			}
			held -= 20
			now = now.Add(step)
		}
		if missing > 3 {
			t.Errorf("packets of %d ms: %d missing, %+v", length, missing, b.Counts())
		}
	}
}

func TestPutAndPopAllocateNothing(t *testing.T) {
	b := New(48000)
	now := time.Unix(1000, 0)
	i := 0
	payload := make([]byte, 80)
	if n := testing.AllocsPerRun(500, func() {
		b.Put(now, uint16(i), uint32(960*i), false, payload)
		b.Pop(now)
		i++
		now = now.Add(step)
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func FuzzBuffer(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x02\x03\xff\xff\x7f\x00\x80\x01"))
	f.Fuzz(func(t *testing.T, script []byte) {
		b := New(8000)
		now := time.Unix(1000, 0)
		for ; len(script) >= 4; script = script[4:] {
			sequence := binary.BigEndian.Uint16(script)
			b.Put(now, sequence, uint32(sequence)*160*uint32(script[2]&3), script[3]&1 != 0, script[:script[3]&3])
			if script[2]&4 != 0 {
				if _, v := b.Pop(now); v > Wait {
					t.Fatal(v)
				}
			}
			if b.Advice() != Keep {
				b.Followed()
			}
			now = now.Add(time.Duration(script[3]) * time.Millisecond)
			full, sounds := 0, 0
			for i := range b.slots {
				if b.slots[i].full {
					full++
					if !b.slots[i].event {
						sounds++
					}
				}
			}
			if full != b.full || sounds != b.sounds {
				t.Fatalf("%d full, counted %d; %d sounds, counted %d", full, b.full, sounds, b.sounds)
			}
		}
	})
}
