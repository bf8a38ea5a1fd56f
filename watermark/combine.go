package watermark

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// combine puts windows together. A leg that a window makes likely is looked for in the others: where its time goes on
// from the seed's (one recording), and at other places that make it likely too (a recording cut together).
func (x *searcher) combine() {
	var seeds []seed
	for _, w := range x.windows {
		seeds = append(seeds, w.seeds...)
	}
	best(seeds, len(seeds))
	const most = 200 // seeds that are followed through the other windows
	perLeg := make(map[int][]seed)
	followed := make(map[int]int)
	for i, s := range seeds {
		perLeg[s.suspect] = append(perLeg[s.suspect], s)
		// Four places of a leg are enough, unless it is one that is named.
		if i < most && followed[s.suspect] < 4 && !x.covered(s) {
			followed[s.suspect]++
			x.offer(x.followed(s))
		}
	}
	for leg, list := range perLeg {
		if len(list) > 1 {
			x.offer(x.cutTogether(leg, list))
		}
	}
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

// followed extends a seed through the windows before and after it, as far as that makes it likelier.
func (x *searcher) followed(s seed) *Finding {
	a := &s.window.alignments[s.rank]
	// The leg's slot at the seed's frame 0 and how many slots pass in a sample of the sound.
	slot0 := float64(s.tile*TileSlots) + a.slotAt(0) - float64(a.phase/TileSlots*TileSlots)
	rate := a.speed / slotFrames / hop
	var peers []*window
	own := 0
	for _, w := range x.windows {
		if w.level == s.window.level {
			if w == s.window {
				own = len(peers)
			}
			peers = append(peers, w)
		}
	}
	slices.SortStableFunc(peers, func(a, b *window) int { return cmp.Compare(a.start, b.start) })
	own = slices.Index(peers, s.window)

	code := x.codes[s.suspect]
	type part struct {
		bits []int16
		sum  int
		logP float64
		a    *alignment
		from float64
	}
	read := func(w *window, guess float64, first *alignment) (part, bool) {
		al := first
		if al == nil {
			al = x.refine(w, a, guess)
			if al == nil {
				return part{}, false
			}
		}
		var ts tiles
		var sc scores
		ts.read(x.Sync, al)
		sc.set(&ts)
		// The whole period in which the alignment's phase comes nearest to the guess.
		within := al.slotAt(0)
		periods := math.Round((guess - within) / Period)
		from := int(periods)*PeriodTiles + sc.first
		if al == first {
			from = s.tile
		}
		sum := sc.at(code, from)
		return part{bits: slices.Clone(sc.bits), sum: sum, logP: logTail(sc.bits, sum), a: al, from: periods*Period + within}, true
	}
	seedPart, _ := read(s.window, slot0, a)
	seedPart.from = slot0
	parts := map[int]part{own: seedPart}
	bits, sum := slices.Clone(seedPart.bits), seedPart.sum
	bestP, from, to := logTailExact(bits, sum), own, own
	// Each side is tried to its end; the guess follows what was read last, so that a slow drift does no harm.
	for _, step := range [...]int{1, -1} {
		guessed, at, speed := slot0, s.window.start, rate
		tryBits, trySum := slices.Clone(bits), sum
		missed := 0
		for i := own + step; i >= 0 && i < len(peers) && missed < 3; i += step {
			w := peers[i]
			guess := guessed + float64(w.start-at)*speed
			if guess < -float64(w.samples)*rate/2 || guess > float64(len(code)*TileSlots) {
				break
			}
			p, ok := read(w, guess, nil)
			if !ok {
				break
			}
			parts[i] = p
			tryBits, trySum = append(tryBits, p.bits...), trySum+p.sum
			if p.logP < -4 {
				guessed, at = p.from, w.start
				missed = 0
			} else {
				missed++
			}
			if total := logTail(tryBits, trySum); total < bestP {
				bestP = total
				if step > 0 {
					to = i
				} else {
					from = i
				}
				bits, sum = slices.Clone(tryBits), trySum
			}
		}
	}
	if s.window.samples != 0 && from == to {
		bestP = logTailExact(bits, sum)
	}
	n := float64(len(peers))
	// The seed's window, and where the run begins and ends: one of n·n runs and n windows each.
	f := &Finding{Suspect: s.suspect, LogP: min(0, bestP+s.places+x.seedCost()+math.Log(n))}
	if from != to {
		f.LogP = min(0, bestP+s.places+x.seedCost()+3*math.Log(n)+math.Ln2)
	} else {
		f.LogP = min(0, f.LogP+math.Ln2)
	}
	for i := from; i <= to; i++ {
		p, ok := parts[i]
		if !ok || p.logP > -2.5 && i != own {
			continue
		}
		f.Pieces = append(f.Pieces, x.piece(peers[i], p.a, p.from, p.logP, s.suspect))
	}
	if f.LogP < FalseAccusation {
		for i := from; i <= to; i++ {
			if parts[i].logP < math.Log(1e-4) {
				peers[i].explained = true
			}
		}
	}
	return f
}

// piece is a window in which a leg's mark was read. Ends of it that show nothing of the leg are left out.
func (x *searcher) piece(w *window, a *alignment, slot, logP float64, leg int) Piece {
	second := func(samples float64) time.Duration { return time.Duration(samples * float64(time.Second) / Rate) }
	var ts tiles
	var sc scores
	ts.read(x.Sync, a)
	sc.set(&ts)
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
		Speed: a.speed, Pitch: a.reading.pitch, LogP: logP, Trend: trend[from:to]}
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
	if w.power == nil || w.power.frames == 0 {
		return nil
	}
	var readings []*reading
	for i := range w.alignments {
		if r := w.alignments[i].reading; r.pitch == like.reading.pitch && !slices.Contains(readings, r) {
			readings = append(readings, r)
		}
	}
	if len(readings) == 0 {
		readings = w.power.readings(like.reading.pitch)
	}
	var found *alignment
	var ts tiles
	for _, r := range readings {
		for d := -2.0; d <= 2; d++ {
			// The middle of slot n is at n + ½ of the leg's time, which slotAt counts as n.
			at := guess + d/slotFrames
			phase := math.Ceil(at)
			a := &alignment{reading: r, speed: like.speed, first: (phase - at) * slotFrames / like.speed}
			a.phase = ((int(phase) % Period) + Period) % Period
			ts.read(x.Sync, a)
			a.score = ts.likelihood()
			if found == nil || a.score > found.score {
				found = a
			}
		}
	}
	return found
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
		var ts tiles
		var sc scores
		ts.read(x.Sync, a)
		sc.set(&ts)
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
		cost += s.places + math.Log(float64(len(x.windows))) + math.Ln2
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
