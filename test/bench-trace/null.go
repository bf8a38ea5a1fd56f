package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
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

// null counts how searches come out in which nobody should be named: of speech without a mark and of speech with another leg's, of
// four voices, at several lengths, each fiftieth with all speeds and pitches. With -state FILE it goes on where it was.
func (b *bench) null(ctx context.Context) error {
	state := nullState{Kinds: make(map[string]*nullCount)}
	if b.state != "" {
		text, err := os.ReadFile(b.state)
		if err == nil {
			err = json.Unmarshal(text, &state)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
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
		if sounds[4+i], err = plain(marked(sound, 1<<40)); err != nil {
			return err
		}
	}
	list := suspects(b.legs, b.minutes*60)
	began := time.Now()
	for n := 0; n < b.clips && (b.limit == 0 || time.Since(began) < b.limit); n++ {
		i := state.Next
		rng := rand.New(rand.NewPCG(uint64(i), 31))
		kind, seconds := "no mark", [...]int{5, 5, 5, 10, 20}[rng.IntN(5)]
		sound := sounds[i%8]
		if i%8 >= 4 {
			kind = "another leg's mark"
		}
		far := i%50 == 49
		if far {
			kind, seconds, sound = "no mark, all speeds and pitches", 5, sounds[i%4]
		}
		clip := b.clip(rng, sound, seconds*watermark.Rate, 1)
		r, err := watermark.Search{Sync: syncKey(), Suspects: list, Wide: far, Far: far, Workers: 2}.Run(ctx, clip)
		if err != nil {
			return err
		}
		if state.Kinds[kind] == nil {
			state.Kinds[kind] = new(nullCount)
		}
		state.Kinds[kind].add(r)
		state.Next++
		if b.state != "" && (n%50 == 49 || n == b.clips-1) || b.limit > 0 && time.Since(began) >= b.limit {
			if err := b.keep(&state); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(b.out, "\nSearches among %d legs that were not there, by the least bound of any leg, and by the bound on the sync key's fitting by chance:\n", b.legs)
	for kind, c := range state.Kinds {
		fmt.Fprintf(b.out, "  %-32s %6d searches, named: %d; a leg below 10^-1, -2, ...: %v; sync key: %v\n", kind, c.Searches, c.Named, c.Leg[1:], c.Sync[1:])
	}
	return nil
}

func (b *bench) keep(state *nullState) error {
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
