package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"conclave/watermark"
)

// nullCount is how many searches came out how low: [k] counts those below 10^-k.
type nullCount struct {
	Searches int    `json:"searches"`
	Leg      [9]int `json:"any_leg_below"`
	Sync     [9]int `json:"sync_key_below"`
	Named    int    `json:"named"`
}

func (c *nullCount) add(r *watermark.Result) {
	c.Searches++
	c.Named += len(r.Named)
	least := 0.0
	for _, f := range append(append([]watermark.Finding(nil), r.Named...), r.Others...) {
		least = min(least, f.LogP)
	}
	for k := range c.Leg {
		if least <= -float64(k)*math.Ln10 {
			c.Leg[k]++
		}
		if r.SyncLogP <= -float64(k)*math.Ln10 {
			c.Sync[k]++
		}
	}
}

// nullState is what a long run has counted, so that it can go on later.
type nullState struct {
	Next  int                   `json:"next"`
	Kinds map[string]*nullCount `json:"kinds"`
}

// nullClip is one search of the null run, all of it drawn from the search's number.
type nullClip struct {
	kind         string
	sound        int // of the eight: four voices, without a mark and with another leg's
	seconds      int
	far          bool
	sync         *watermark.Sync
	legs         []watermark.Suspect
	rng          *rand.Rand
	marked, many bool
}

// nullOf draws a search: mostly of short clips, which cost least and in which chance has the most room; one in ten has 5 s, one in
// a hundred 10 s, one in a thousand 20 s, one in a thousand all speeds and pitches, one in a hundred ten times as many legs. All legs' keys are
// drawn anew for each search, and the sync key too where the sound has no mark: that is what makes searches independent of each
// other, even where two clips overlap.
func (b *bench) nullOf(i int) nullClip {
	rng := rand.New(rand.NewPCG(uint64(i), 31))
	c := nullClip{kind: "no mark", sound: i % 8, seconds: 2, sync: syncKey(), rng: rng, marked: i%8 >= 4, many: i%100 == 7, far: i%1000 == 499}
	switch {
	case c.far:
		c.kind, c.sound, c.marked = "no mark, all speeds and pitches", i%4, false
	case i%1000 == 3:
		c.seconds = 20
	case i%100 == 13:
		c.seconds = 10
	case i%10 == 9:
		c.seconds = 5
	case i%10 > 6:
		c.seconds = 3
	}
	if c.marked {
		c.kind = "another leg's mark"
	} else {
		key := make([]byte, watermark.SyncSize)
		for k := range key {
			key[k] = byte(rng.Uint64() >> 40)
		}
		sync, err := watermark.NewSync(key)
		if err != nil {
			panic(err)
		}
		c.sync = sync
	}
	n := b.legs
	if c.many {
		n *= 10
	}
	for k := range n {
		c.legs = append(c.legs, watermark.Suspect{Code: key(1<<41 + i*10*b.legs + k).Code(), Tiles: b.minutes*60*25/8 + 16})
	}
	return c
}

// null counts how searches come out in which nobody should be named: of speech without a mark and of speech with another leg's, of
// four voices. With -state FILE it goes on where it was.
func (b *bench) null(ctx context.Context) error {
	state := nullState{Kinds: make(map[string]*nullCount)}
	if err := b.kept(&state); err != nil {
		return err
	}
	var sounds [8][]float32
	for i, voice := range []string{"en", "fr", "it", "ru"} {
		sound, err := meeting(b.minutes*60, 30, voice)
		if err != nil {
			return err
		}
		if sounds[i], err = plain(sound); err != nil {
			return err
		}
		e, err := watermark.NewEmbedder(watermark.Rate, 1, 0, syncKey(), key(1<<40).Code())
		if err != nil {
			return err
		}
		sounds[4+i] = append([]float32(nil), sounds[i]...)
		e.Process(sounds[4+i])
	}
	state.Next = max(state.Next, b.from)
	began := time.Now()
	for b.limit == 0 || time.Since(began) < b.limit {
		if state.Next >= b.from+b.clips {
			break
		}
		c := b.nullOf(state.Next)
		clip := b.clip(c.rng, sounds[c.sound], c.seconds*watermark.Rate, 1)
		r, err := watermark.Search{Sync: c.sync, Suspects: c.legs, Wide: c.far, Far: c.far, Workers: 1}.Run(ctx, clip)
		if err != nil {
			return err
		}
		if state.Kinds[c.kind] == nil {
			state.Kinds[c.kind] = new(nullCount)
		}
		state.Kinds[c.kind].add(r)
		state.Next++
		if state.Next%100 == 0 {
			if err := b.keep(&state); err != nil {
				return err
			}
		}
	}
	if err := b.keep(&state); err != nil {
		return err
	}
	b.printNull(&state)
	return nil
}

// printNull prints what was counted, and what it allows to be claimed: where none of n searches names anybody, the share that
// does is below 3/n with a confidence of 95 %.
func (b *bench) printNull(state *nullState) {
	fmt.Fprintf(b.out, "\nSearches among %d legs that were not there (each hundredth among %d), by the least bound of any leg, and by the bound on the sync key's fitting by chance:\n", b.legs, 10*b.legs)
	searches, named := 0, 0
	var below [9]int
	for _, kind := range slices.Sorted(maps.Keys(state.Kinds)) {
		c := state.Kinds[kind]
		fmt.Fprintf(b.out, "  %-32s %6d searches, named: %d; a leg below 10^-1, -2, ...: %v; sync key: %v\n", kind, c.Searches, c.Named, c.Leg[1:], c.Sync[1:])
		searches, named = searches+c.Searches, named+c.Named
		for k, n := range c.Leg {
			below[k] += n
		}
	}
	fmt.Fprintf(b.out, "  %-32s %6d searches, named: %d; a leg below 10^-1, -2, ...: %v\n", "all", searches, named, below[1:])
	if searches > 0 {
		fmt.Fprintf(b.out, "  Shown with 95 %% confidence: fewer than %.2g of searches name somebody who was not there.\n", atMost(named)/float64(searches))
	}
}

// atMost is the mean above which so few cases, or fewer, would be seen in less than one of twenty times: 3.0 for none.
func atMost(cases int) float64 {
	low, high := 0.0, 20+2*float64(cases)+10*math.Sqrt(float64(cases))
	for range 60 {
		mean := (low + high) / 2
		p, term := 0.0, math.Exp(-mean)
		for k := 0; k <= cases; k++ {
			p += term
			term *= mean / float64(k+1)
		}
		if p > 0.05 {
			low = mean
		} else {
			high = mean
		}
	}
	return high
}

// kept reads what a long run has counted so far.
func (b *bench) kept(state any) error {
	if b.state == "" {
		return nil
	}
	text, err := os.ReadFile(b.state)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, state)
}

func (b *bench) keep(state any) error {
	if b.state == "" {
		return nil
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.state+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(b.state+".new", b.state)
}
