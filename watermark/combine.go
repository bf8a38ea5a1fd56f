package watermark

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// combine puts windows together. A leg that a window makes likely is looked for in the others: where its time goes on
// from the seed's (one recording), and at other places that make it likely too (a recording cut together).
func (x *searcher) combine(ctx context.Context, share float64) error {
	var seeds []seed
	for _, w := range x.windows {
		seeds = append(seeds, w.seeds...)
	}
	best(seeds, len(seeds))
	const most = 200 // seeds that are followed through the other windows
	perLeg := make(map[int][]seed)
	followed := make(map[int]int)
	// Four places of a leg are enough, unless it is one that is named.
	wanted := func(s seed) bool { return followed[s.suspect] < 4 && !x.covered(s) }
	ahead := 1 // the first one alone: where a leg is named, it covers most others
	for i, s := range seeds {
		perLeg[s.suspect] = append(perLeg[s.suspect], s)
		if i >= most || !wanted(s) {
			continue
		}
		if i >= ahead && x.Workers > 1 {
			ahead = min(i+2*x.Workers, most, len(seeds))
			if err := x.lookAhead(ctx, slices.DeleteFunc(slices.Clone(seeds[i:ahead]), func(s seed) bool { return !wanted(s) }), share); err != nil {
				return err
			}
		}
		followed[s.suspect]++
		t := x.trail(s)
		for _, w := range t.explains {
			w.explained = true
		}
		x.offer(&t.finding)
	}
	for leg, list := range perLeg {
		if len(list) > 1 {
			x.offer(x.cutTogether(leg, list))
		}
	}
	return ctx.Err()
}

// seedAt is what makes a seed that one, and not another.
type seedAt struct {
	window              *window
	rank, suspect, tile int
}

func (s *seed) at() seedAt { return seedAt{s.window, s.rank, s.suspect, s.tile} }

// trail is what a seed was followed to: a finding, and the windows that it explains. It is the same whenever it is done.
type trail struct {
	finding  Finding
	explains []*window
}

// trail follows a seed, or remembers.
func (x *searcher) trail(s seed) trail {
	t, ok := x.known[s.at()]
	if !ok {
		t = x.followed(s)
		x.known[s.at()] = t
	}
	t.finding.Pieces = slices.Clone(t.finding.Pieces)
	return t
}

// lookAhead follows seeds at once that are likely to be asked for next.
func (x *searcher) lookAhead(ctx context.Context, seeds []seed, share float64) error {
	seeds = slices.DeleteFunc(seeds, func(s seed) bool {
		_, ok := x.known[s.at()]
		return ok
	})
	trails := make([]trail, len(seeds))
	err := x.each(ctx, len(seeds), share, share, func(i int) { trails[i] = x.followed(seeds[i]) })
	if err != nil {
		return err
	}
	for i := range seeds {
		x.known[seeds[i].at()] = trails[i]
	}
	return nil
}

// covered says whether a seed lies in a piece in which its leg was found already.
func (x *searcher) covered(s seed) bool {
	f := x.findings[s.suspect]
	return f != nil && f.LogP < FalseAccusation && s.window.explained
}

// offer keeps a finding if it is surer than what is known of its leg. Two sure ones of the same leg are of different
// pieces: they are put together.
func (x *searcher) offer(f *Finding) {
	if f == nil {
		return
	}
	old := x.findings[f.Suspect]
	if old == nil {
		x.findings[f.Suspect] = f
		return
	}
	if f.LogP < FalseAccusation && old.LogP < FalseAccusation {
		if f.LogP < old.LogP {
			f, old = old, f
		}
		for _, p := range f.Pieces {
			if !slices.ContainsFunc(old.Pieces, func(q Piece) bool { return p.From < q.To && q.From < p.To }) {
				old.Pieces = append(old.Pieces, p)
			}
		}
		x.findings[old.Suspect] = old
	} else if f.LogP < old.LogP {
		x.findings[f.Suspect] = f
	}
}

// seedCost is the logarithm of how many seeds there could have been, besides a seed's own places.
func (x *searcher) seedCost() float64 {
	return math.Log(float64(len(x.Suspects) * x.Searches))
}

// part is what a window says of a leg at a place.
type part struct {
	bits []int16
	sum  int
	logP float64
	a    *alignment
	from float64 // the leg's slot at the window's frame 0
}

// run is a seed that is followed through the windows before and after it.
type run struct {
	*searcher
	seed   seed
	a      *alignment // of the seed
	rate   float64    // slots in a sample of the sound
	peers  []*window  // all of the seed's length, by time
	own    int        // the seed's place among them
	parts  map[int]part
	used   map[int]bool // tiles of the leg's code that were read
	bits   []int16      // of the windows taken so far, with their score and its bound
	sum    int
	logP   float64
	lo, hi int
}

// followed extends a seed through the windows before and after it, as far as that makes it likelier.
func (x *searcher) followed(s seed) trail {
	a := &s.window.alignments[s.rank]
	r := &run{searcher: x, seed: s, a: a, rate: a.speed / slotFrames / hop, parts: make(map[int]part), used: make(map[int]bool)}
	for _, w := range x.windows {
		if w.level == s.window.level {
			r.peers = append(r.peers, w)
		}
	}
	slices.SortStableFunc(r.peers, func(a, b *window) int { return cmp.Compare(a.start, b.start) })
	r.own = slices.Index(r.peers, s.window)
	r.lo, r.hi = r.own, r.own

	slot := float64(s.tile*TileSlots) + a.slotAt(0) - float64(a.phase/TileSlots*TileSlots)
	first := r.read(a, s.tile)
	first.from = slot
	r.parts[r.own] = first
	r.bits, r.sum, r.logP = slices.Clone(first.bits), first.sum, logTailExact(first.bits, first.sum)
	r.extend(1, slot)
	r.extend(-1, slot)
	return r.trail()
}

// read holds the leg's code against a window at an alignment, whose first tile is the leg's tile from. A tile that was read in
// another window, as one on the border is, says nothing again: an innocent leg's bits in it are the same coins.
func (r *run) read(a *alignment, from int) part {
	var sc scores
	ts := tiles{first: a.tiles.first, sums: slices.Clone(a.tiles.sums)}
	for i := range ts.sums {
		if r.used[from+i] {
			ts.sums[i] = [groups]float32{}
		}
		r.used[from+i] = true
	}
	sc.set(&ts)
	sum := sc.at(r.codes[r.seed.suspect], from)
	return part{bits: sc.bits, sum: sum, logP: logTail(sc.bits, sum), a: a}
}

// extend goes on to one side and takes windows in as long as that makes the leg likelier; three that say nothing end it. The
// guess follows what was read last, so that a slow drift does no harm. That a window is followed from another which fits the
// leg makes its alignment depend on the leg's code in that other window, but not on the code in this one, which is what is counted.
func (r *run) extend(step int, slot float64) {
	guessed, at, missed := slot, r.seed.window.start, 0
	bits, sum := slices.Clone(r.bits), r.sum
	for i := r.own + step; i >= 0 && i < len(r.peers) && missed < 3; i += step {
		w := r.peers[i]
		guess := guessed + float64(w.start-at)*r.rate
		if guess < -float64(w.samples)*r.rate/2 || guess > float64(len(r.codes[r.seed.suspect])*TileSlots) {
			return
		}
		a := r.refine(w, r.a, guess)
		if a == nil {
			return
		}
		// The whole period in which the alignment's phase comes nearest to the guess.
		within := a.slotAt(0)
		periods := math.Round((guess - within) / Period)
		p := r.read(a, int(periods)*PeriodTiles+a.phase/TileSlots)
		p.from = periods*Period + within
		r.parts[i] = p
		bits, sum = append(bits, p.bits...), sum+p.sum
		if p.logP < -4 {
			guessed, at, missed = p.from, w.start, 0
		} else {
			missed++
		}
		if total := logTail(bits, sum); total < r.logP {
			r.bits, r.sum, r.logP = slices.Clone(bits), sum, total
			r.lo, r.hi = min(r.lo, i), max(r.hi, i)
		}
	}
}

// wholes is how many times as much of the probability the bound leaves to whole windows as to parts of one.
const wholes = 32

// trail counts what was tried into the bound: the seed's places and window, and for a run of windows, its two ends. Of a window that is
// read on its own, a part may say more than all of it: the rest may be from another time.
func (r *run) trail() (t trail) {
	n := float64(r.counts[r.seed.window.level])
	cost := r.seed.places + r.seedCost() + math.Log(n) + math.Ln2
	logP := r.logP + math.Log1p(1.0/wholes)
	if r.lo != r.hi {
		cost += 2 * math.Log(n)
	} else {
		var sc scores
		sc.set(r.a.tiles)
		logP = min(logP, sc.part(r.codes[r.seed.suspect], r.seed.tile)+math.Log1p(wholes))
	}
	f := &t.finding
	f.Suspect, f.LogP = r.seed.suspect, min(0, logP+cost)
	for i := r.lo; i <= r.hi; i++ {
		p, ok := r.parts[i]
		if !ok || p.logP > -2.5 && i != r.own {
			continue
		}
		f.Pieces = append(f.Pieces, r.piece(r.peers[i], p.a, p.from, p.logP, r.seed.suspect))
		if f.LogP < FalseAccusation && p.logP < math.Log(1e-4) {
			t.explains = append(t.explains, r.peers[i])
		}
	}
	return t
}

// piece is a window in which a leg's mark was read. Ends of it that show nothing of the leg are left out.
func (x *searcher) piece(w *window, a *alignment, slot, logP float64, leg int) Piece {
	second := func(samples float64) time.Duration { return time.Duration(samples * float64(time.Second) / Rate) }
	var sc scores
	sc.set(a.tiles)
	tile := int(math.Round((slot-a.slotAt(0))/TileSlots)) + a.phase/TileSlots
	trend := sc.trend(x.codes[leg], tile)
	step := Period * slotFrames * hop / a.speed // in samples
	from, to := 0, len(trend)
	const clear = 1.5
	for to-from > 2 && trend[from] < clear {
		from++
	}
	for to-from > 2 && trend[to-1] < clear {
		to--
	}
	end := float64(w.samples)
	if to < len(trend) {
		end = min(end, float64(to)*step)
	}
	began := (slot + float64(from)*Period) * float64(time.Second) / SlotsPerSecond
	return Piece{From: second(float64(w.start) + float64(from)*step), To: second(float64(w.start) + end), Began: time.Duration(max(0, began)),
		Speed: a.speed, Pitch: a.pitch, LogP: logP, Trend: trend[from:to]}
}

// trend is the score of each run of PeriodTiles, in standard deviations.
func (s *scores) trend(code []byte, from int) []float64 {
	var out []float64
	for i := 0; i < len(s.table); i += PeriodTiles {
		sum, squares := 0.0, 1e-9
		for k := i; k < min(i+PeriodTiles, len(s.table)); k++ {
			if at := from + k; at >= 0 && at < len(code) {
				sum += float64(s.table[k][code[at]])
			}
			squares += s.squares[k]
		}
		out = append(out, sum/math.Sqrt(squares))
	}
	return out
}

// refine finds the best alignment of a window near a guess: frame 0 lies in slot guess of a leg. No leg's code is used, so
// what is read is as independent of the legs as the seed's alignment.
func (x *searcher) refine(w *window, like *alignment, guess float64) *alignment {
	if w.samples < windowSize {
		return nil
	}
	var readings []*reading
	for i := range w.alignments {
		if r := w.alignments[i].reading; r != nil && r.pitch == like.pitch && !slices.Contains(readings, r) {
			readings = append(readings, r)
		}
	}
	if len(readings) == 0 {
		readings = x.prepared.readings(x.sound, w, like.pitch)
	}
	var found *alignment
	var ts tiles
	for _, r := range readings {
		for d := -2.0; d <= 2; d++ {
			// The middle of slot n is at n + ½ of the leg's time, which slotAt counts as n.
			at := guess + d/slotFrames
			phase := math.Ceil(at)
			a := &alignment{reading: r, pitch: r.pitch, speed: like.speed, first: (phase - at) * slotFrames / like.speed}
			a.phase = ((int(phase) % Period) + Period) % Period
			ts.read(x.signs, a)
			a.score = ts.likelihood()
			if found == nil || a.score > found.score {
				found = a
			}
		}
	}
	found.tiles = new(tiles)
	found.tiles.weigh(x.Sync, found)
	found.reading = nil
	return found
}

// prepared is readings that were made again. It may be used by several goroutines.
type prepared struct {
	mu      sync.Mutex // guards what stands below
	known   map[windowAt]func() []*reading
	samples int // of all that are known
}

// windowAt is a window at a pitch.
type windowAt struct {
	*window
	pitch float64
}

// readings makes a window's readings for a pitch, or remembers them.
func (p *prepared) readings(sound []float32, w *window, pitch float64) []*reading {
	p.mu.Lock()
	at := windowAt{w, pitch}
	f := p.known[at]
	if f == nil {
		f = sync.OnceValue(func() []*reading { return newAnalysis().power(sound[w.start:][:w.samples]).readings(pitch) })
		p.samples += w.samples
		if p.known == nil || p.samples > readingsKept/2*windowLengths[long] {
			p.known, p.samples = make(map[windowAt]func() []*reading), w.samples
		}
		p.known[at] = f
	}
	p.mu.Unlock()
	return f()
}

// cutTogether adds up a leg's places in different windows. Codes of different places are independent coins, so their
// scores add up, and the numbers of places multiply.
func (x *searcher) cutTogether(leg int, seeds []seed) *Finding {
	type range_ struct{ from, to int }
	var bits []int16
	sum, cost := 0, x.seedCost()
	var used []range_
	var windows []*window
	var f *Finding
	var pieces []Piece
	for _, s := range seeds {
		a := &s.window.alignments[s.rank]
		var sc scores
		sc.set(a.tiles)
		r := range_{s.tile, s.tile + len(sc.table)}
		if slices.ContainsFunc(used, func(u range_) bool { return r.from < u.to && u.from < r.to }) ||
			slices.ContainsFunc(windows, func(w *window) bool {
				return w.start < s.window.start+s.window.samples && s.window.start < w.start+w.samples
			}) {
			continue
		}
		used, windows = append(used, r), append(windows, s.window)
		bits, sum = append(bits, sc.bits...), sum+s.sum
		// Which windows are put together is chosen as well: each piece pays for all windows it might have been.
		cost += s.places + math.Log(float64(x.counts[s.window.level])) + math.Ln2
		slot := float64(s.tile*TileSlots) + a.slotAt(0) - float64(a.phase/TileSlots*TileSlots)
		pieces = append(pieces, x.piece(s.window, a, slot, s.logP, leg))
		if p := min(0, logTail(bits, sum)+cost+math.Ln2); len(pieces) > 1 && (f == nil || p < f.LogP) {
			f = &Finding{Suspect: leg, LogP: p, Pieces: slices.Clone(pieces)}
		}
	}
	return f
}

// result sorts what was found.
func (x *searcher) result(length time.Duration) *Result {
	r := &Result{Duration: length, SyncLogP: x.synchrony(), Tried: x.tried}
	var all []Finding
	for _, f := range x.findings {
		slices.SortFunc(f.Pieces, func(a, b Piece) int { return cmp.Compare(a.From, b.From) })
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.LogP, b.LogP), cmp.Compare(a.Suspect, b.Suspect))
	})
	for _, f := range all {
		switch {
		case f.LogP < FalseAccusation:
			r.Named = append(r.Named, f)
		case len(r.Others) < 10:
			r.Others = append(r.Others, f)
		}
	}
	for _, w := range x.windows {
		r.Tried.Windows++
		r.Tried.Alignments += w.synchrony.tried
	}
	return r
}
