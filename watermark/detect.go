package watermark

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// FalseAccusation is the natural logarithm of the probability, over all that was tried, beyond which nobody is named: 10⁻⁶.
const FalseAccusation = -6 * math.Ln10

// Shown is the probability below which a search names somebody who was not there, as far as trials have shown it, with a confidence of
// 95 %: nobody was named in so many searches (decision 0018). What a result's bound is below that is arithmetic.
const Shown = 3.0 / 100_000

// MinSound is the shortest sound that is worth searching; MaxSound the longest that is searched in one go.
const (
	MinSound = 2 * time.Second
	MaxSound = 12 * time.Hour
)

// ErrShort and ErrLong are returned for sound outside MinSound to MaxSound.
var (
	ErrShort = errors.New("watermark: sound is too short to hold a mark")
	ErrLong  = errors.New("watermark: sound is too long to be searched in one go")
)

// Suspect is a leg whose mark is looked for: its code, and for how many tiles it marked.
type Suspect struct {
	Code  *Code
	Tiles int
}

// Search is a search for marks.
type Search struct {
	Sync     *Sync
	Suspects []Suspect
	// Wide searches changes of speed, pitch and tempo up to 6 % where none up to 0.2 % finds a mark.
	Wide bool
	// Far searches changes up to 30 %, of pitch and tempo each on its own, where nothing before finds a mark.
	Far bool
	// Searches is over how many searches the bound shall hold, where the same sound is tried with several sync keys or
	// sets of suspects; at least 1.
	Searches int
	// Workers is how many goroutines may run at once, at least 1.
	Workers int
	// Progress is told the share of the work that is done, 0 to 1, from several goroutines. May be nil.
	Progress func(done float64)
}

// Piece is a part of the sound that a leg's mark was read in.
type Piece struct {
	From, To     time.Duration // in the sound
	Began        time.Duration // the leg's time at From, since it began to mark
	Speed, Pitch float64       // of the recording, in relation to what was played
	LogP         float64       // of this piece alone at this place, in no relation to what was tried
	// Trend is the leg's score in each TrendStep of the piece, in standard deviations of what an innocent leg scores.
	Trend []float64
}

// Finding is a leg whose mark was found, or looked likest.
type Finding struct {
	Suspect int // its place in Search.Suspects
	// LogP is the natural logarithm of an upper bound on the probability that any innocent leg would look as guilty, over
	// every suspect, position, alignment, window and combination that was tried.
	LogP   float64
	Pieces []Piece // in order of time
}

// TrendStep is the time between two values of Piece.Trend: a period.
const TrendStep = Period * 80 * time.Millisecond

// Tried counts what a search tried, so that its bound can be checked.
type Tried struct {
	Windows    int // pieces of sound that were looked at on their own
	Alignments int // guesses of speed, offset and phase, without regard to any leg
	Followed   int // alignments with which legs were tried
	Positions  int // the most positions of one leg in one alignment
	Suspects   int
	Scores     int // codes held against sound, in all
	Wide, Far  bool
}

// Result is what a search found.
type Result struct {
	Duration time.Duration
	Named    []Finding // below FalseAccusation, surest first
	Others   []Finding // the likeliest of the rest, at most 10; a bound near 0 says nothing against anybody
	// SyncLogP is the natural logarithm of an upper bound on the probability that sound without any mark of this
	// organisation would fit its sync key as well.
	SyncLogP float64
	Tried    Tried
}

// Marked says whether the sound has marks of this organisation, whoever's they are.
func (r *Result) Marked() bool { return r.SyncLogP < FalseAccusation || len(r.Named) > 0 }

// window is a piece of the sound that is aligned on its own.
type window struct {
	start, samples int // in the sound
	level          int // of windowLengths
	wide           bool
	alignments     []alignment
	synchrony      synchrony
	seeds          []seed
	explained      bool
}

// seed is a leg at a place in a window.
type seed struct {
	window    *window
	rank      int // of the alignment, from 0
	suspect   int
	tile      int // the window's first tile's number in the leg's code
	bits, sum int
	logP      float64 // of the score alone
	places    float64 // logarithm of how many places like it there were: positions, and the alignment's rank
}

// windowLengths are the lengths of windows, in samples: long ones, short ones where the long ones found nothing, and pieces, of which
// a recording may be put together, where nobody is named by the others.
var windowLengths = [...]int{60 * Rate, 15 * Rate, 5 * Rate}

const (
	long = iota
	short
	scraps
)

const (
	// seedsKept is how many of the best legs of a window may be combined with other windows.
	seedsKept = 24
	// scrapsTried is how many windows of the shortest kind are looked at, the loudest: ten minutes.
	scrapsTried = 120
	// readingsKept is the number of windows up to which readings are kept for following a leg through them; of more, which would
	// take gigabytes, they are made again, and the last of those, of as many samples as half of these windows, kept.
	readingsKept = 90
)

// searcher is the state of one search.
type searcher struct {
	Search
	signs    *signs
	sound    []float32
	windows  []*window
	codes    [][]byte
	counts   [len(windowLengths)]int // how many windows of each length there are, looked at or not
	tried    Tried
	findings map[int]*Finding
	known    map[seedAt]trail // seeds that were followed
	prepared prepared
	done     func(share float64)
}

// Run searches sound of Rate samples a second for marks.
func (s Search) Run(ctx context.Context, sound []float32) (*Result, error) {
	length := time.Duration(len(sound)) * time.Second / Rate
	switch {
	case length < MinSound:
		return nil, ErrShort
	case length > MaxSound:
		return nil, ErrLong
	}
	s.Workers, s.Searches = max(1, s.Workers), max(1, s.Searches)
	x := &searcher{Search: s, sound: sound, signs: newSigns(s.Sync), findings: make(map[int]*Finding), known: make(map[seedAt]trail), done: s.Progress}
	if x.done == nil {
		x.done = func(float64) {}
	}
	x.tried.Suspects = len(s.Suspects)
	x.codes = make([][]byte, len(s.Suspects))
	for i, suspect := range s.Suspects {
		x.codes[i] = make([]byte, suspect.Tiles)
		suspect.Code.Fill(x.codes[i], 0)
	}
	if err := x.run(ctx); err != nil {
		return nil, err
	}
	return x.result(length), nil
}

// run looks at long windows, and at shorter ones where those named nobody.
func (x *searcher) run(ctx context.Context) error {
	for level, length := range windowLengths {
		x.counts[level] = len(cut(len(x.sound), length))
		if level > 0 {
			x.counts[level] += x.counts[level-1] // each of those is divided on its own
		}
	}
	x.windows = x.divided(&window{samples: len(x.sound)}, long)
	if err := x.align(ctx, x.windows, stretches(1, 1, x.windows[0].samples), 0, 0.3); err != nil {
		return err
	}
	if x.Wide && x.synchrony() > FalseAccusation {
		if err := x.alignWide(ctx); err != nil {
			return err
		}
	}
	if x.Far && x.synchrony() > FalseAccusation {
		if err := x.alignFar(ctx); err != nil {
			return err
		}
	}
	if err := x.follow(ctx, x.windows, 0.4, 0.75); err != nil {
		return err
	}
	if err := x.combine(ctx, 0.75); err != nil {
		return err
	}
	var shorter []*window
	for _, w := range x.windows {
		if !w.explained && w.samples >= 2*windowLengths[short] && (w.synchrony.logP() <= math.Log(0.9) || !x.Marked()) {
			shorter = append(shorter, x.divided(w, short)...)
		}
	}
	if err := x.again(ctx, shorter, x.knownStretches(windowLengths[short]), 0.75, 0.9); err != nil {
		return err
	}
	if !x.named() {
		var pieces []*window
		for _, w := range x.windows {
			if w.samples >= 2*windowLengths[scraps] && (w.level == short || w.samples < 2*windowLengths[short]) {
				pieces = append(pieces, x.divided(w, scraps)...)
			}
		}
		x.loudest(pieces)
		pieces = pieces[:min(len(pieces), scrapsTried)]
		best := x.knownStretch()
		const step = 0.002 // 10 ms in a window
		tries := []stretch{best, {best.pitch, best.speed * (1 - step)}, {best.pitch, best.speed * (1 + step)}}
		if err := x.again(ctx, pieces, tries, 0.9, 1); err != nil {
			return err
		}
	}
	x.done(1)
	return nil
}

// again looks at more windows, and puts them together with those before.
func (x *searcher) again(ctx context.Context, windows []*window, tries []stretch, from, to float64) error {
	if len(windows) == 0 {
		return nil
	}
	if err := x.align(ctx, windows, tries, from, (from+to)/2); err != nil {
		return err
	}
	if err := x.follow(ctx, windows, (from+to)/2, to); err != nil {
		return err
	}
	x.windows = append(x.windows, windows...)
	return x.combine(ctx, to)
}

// named says whether anybody is named by what was looked at so far.
func (x *searcher) named() bool {
	for _, f := range x.findings {
		if f.LogP < FalseAccusation {
			return true
		}
	}
	return false
}

// divided returns a window's parts of a length.
func (x *searcher) divided(w *window, level int) (parts []*window) {
	for _, part := range cut(w.samples, windowLengths[level]) {
		parts = append(parts, &window{start: w.start + part[0], samples: part[1], level: level, wide: w.wide})
	}
	return parts
}

// loudest sorts windows by their loudness.
func (x *searcher) loudest(windows []*window) {
	loudness := make(map[*window]float64, len(windows))
	for _, w := range windows {
		sum := 0.0
		for _, s := range x.sound[w.start:][:w.samples] {
			sum += math.Abs(float64(s))
		}
		loudness[w] = sum / float64(w.samples)
	}
	slices.SortStableFunc(windows, func(a, b *window) int { return cmp.Compare(loudness[b], loudness[a]) })
}

// Marked says whether any window has shown the sync key.
func (x *searcher) Marked() bool { return x.synchrony() < FalseAccusation }

// synchrony is the logarithm of the bound on any window's fitting the sync key so well by chance.
func (x *searcher) synchrony() float64 {
	best := 0.0
	for _, w := range x.windows {
		best = min(best, w.synchrony.logP())
	}
	return min(0, best+math.Log(float64(len(x.windows)*x.Searches)))
}

// cut divides so many samples into equal parts of about a length.
func cut(samples, length int) [][2]int {
	n := max(1, int(math.Round(float64(samples)/float64(length))))
	parts := make([][2]int, n)
	for i := range parts {
		from, to := samples*i/n, samples*(i+1)/n
		parts[i] = [2]int{from, to - from}
	}
	return parts
}

// stretches are the speeds within 0.2 % of one, so close together that over the window no slot is off by more than 10 ms, nor over a
// short one by more than 5.
func stretches(pitch, speed float64, samples int) []stretch {
	seconds := float64(samples) / Rate
	step := max(min(0.002, 0.01/seconds), min(0.001, 0.02/seconds))
	n := int(math.Ceil(0.002 / step))
	var out []stretch
	for i := -n; i <= n; i++ {
		out = append(out, stretch{pitch, speed * (1 + float64(i)*step)})
	}
	return out
}

// widest is how far a wide search goes.
const widest = 0.06

// wideStretches are speeds changed like a tape's, tempos changed without the pitch, and pitches without the tempo. Those of one
// pitch stand together, because a reading is dear.
func wideStretches(samples int) []stretch {
	var tempos, out []stretch
	for d := 0.004; d <= widest; d += 0.004 {
		for _, v := range [...]float64{1 - d, 1 + d} {
			tempos = append(tempos, stretches(1, v, samples)...)
			out = append(out, stretches(v, v, samples)...)
			out = append(out, stretches(v, 1, samples)...)
		}
	}
	return append(out, tempos...)
}

// knownStretch is the one that windows were found with; without any, that of a recording that nobody changed.
func (x *searcher) knownStretch() stretch {
	best, score := stretch{1, 1}, FalseAccusation
	for _, w := range x.windows {
		if p := w.synchrony.logP(); p < score && len(w.alignments) > 0 {
			a := &w.alignments[0]
			best, score = stretch{a.pitch, a.speed}, p
		}
	}
	return best
}

// knownStretches are the ones near the known one.
func (x *searcher) knownStretches(samples int) []stretch {
	best := x.knownStretch()
	return stretches(best.pitch, best.speed, samples)
}

// farthest is how far a far search goes.
const farthest = 0.3

// alignFar tries changes of pitch and tempo, each on its own, coarsely in the loudest short window, and then what fits best there
// closely in all long ones.
func (x *searcher) alignFar(ctx context.Context) error {
	x.tried.Far = true
	tests := x.divided(&window{samples: len(x.sound)}, short)
	x.loudest(tests)
	w := tests[0]
	var factors []float64
	for f := 1 - farthest; f < 1+farthest; f += 0.01 { // half a step is a third of the highest band
		factors = append(factors, f)
	}
	aligners := make([]*aligner, len(factors))
	power := newAnalysis().power(x.sound[w.start:][:w.samples])
	err := x.each(ctx, len(aligners), 0.38, 0.4, func(i int) {
		pitch := factors[i]
		al := &aligner{signs: x.signs}
		aligners[i] = al
		r := power.weighted(pitch)
		step := 0.04 * Rate / float64(w.samples) // no slot is off by more than 20 ms
		for speed := 1 - farthest; speed < 1+farthest; speed += step {
			for first := 0; first < slotFrames; first += 2 {
				al.try(r, speed, float64(first))
			}
		}
		al.prune()
		if len(al.found) > 1 {
			al.found = slices.Clone(al.found[:1])
		}
	})
	if err != nil {
		return err
	}
	var all synchrony
	var best *alignment
	for _, al := range aligners {
		all.tried += al.tried
		if len(al.found) > 0 && (best == nil || al.found[0].score > best.score) {
			best, all.best = &al.found[0], al.best
		}
	}
	// It was chosen among all of these, which the windows' own bounds must know.
	x.tried.Alignments += all.tried
	for _, w := range x.windows {
		w.synchrony.tried += all.tried
		x.tried.Alignments -= all.tried // it is counted once
	}
	if best == nil || all.logP() > math.Log(0.05) {
		return nil
	}
	var tries []stretch
	for d := -0.006; d < 0.007; d += 0.003 {
		tries = append(tries, stretches(best.pitch*(1+d), best.speed, x.windows[0].samples)...)
	}
	for _, w := range x.windows {
		w.wide = true
	}
	return x.align(ctx, x.windows, tries, 0.38, 0.4)
}

// alignWide tries the wide stretches on the loudest windows, and then what was found there on all.
func (x *searcher) alignWide(ctx context.Context) error {
	const most = 3
	loudest := slices.Clone(x.windows)
	x.loudest(loudest)
	loudest = loudest[:min(most, len(loudest))]
	for _, w := range loudest {
		w.wide = true
	}
	x.tried.Wide = true
	if err := x.align(ctx, loudest, wideStretches(loudest[0].samples), 0.3, 0.38); err != nil {
		return err
	}
	if !x.Marked() || len(loudest) == len(x.windows) {
		return nil
	}
	var others []*window
	for _, w := range x.windows {
		if !slices.Contains(loudest, w) {
			w.wide = true
			others = append(others, w)
		}
	}
	return x.align(ctx, others, x.knownStretches(windowLengths[long]), 0.38, 0.4)
}

// each runs f for 0 up to n on the search's workers and says how far it is, between two shares of the work.
func (x *searcher) each(ctx context.Context, n int, from, to float64, f func(i int)) error {
	var wait sync.WaitGroup
	var mu sync.Mutex // guards next and finished
	next, finished := 0, 0
	for range min(x.Workers, n) {
		wait.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				f(i)
				mu.Lock()
				finished++
				share := float64(finished) / float64(n)
				mu.Unlock()
				x.done(from + (to-from)*share)
			}
		})
	}
	wait.Wait()
	return ctx.Err()
}

// many is the number of stretches beyond which a reading is left out.
const many = 200

// aligning is a window while it is aligned, in parts that may go on at once.
type aligning struct {
	*window
	power func() *power // made once
	mu    sync.Mutex    // guards what stands below
	all   *aligner
	left  int // parts
}

// parts divides stretches for several goroutines: those of one pitch stay together, because a reading is dear, but not too many of them.
func parts(tries []stretch) (list [][]stretch) {
	if len(tries) <= many {
		return [][]stretch{tries}
	}
	const most = 100
	from := 0
	for i := range tries {
		if i+1 == len(tries) || tries[i+1].pitch != tries[from].pitch || i+1-from == most {
			list = append(list, tries[from:i+1])
			from = i + 1
		}
	}
	return list
}

// align finds the alignments of windows among stretches.
func (x *searcher) align(ctx context.Context, windows []*window, tries []stretch, from, to float64) error {
	keep := x.keep(windows)
	divided := parts(tries)
	type job struct {
		w     *aligning
		tries []stretch
	}
	var jobs []job
	for _, w := range windows {
		a := &aligning{window: w, left: len(divided), all: &aligner{signs: x.signs, tried: w.synchrony.tried, best: w.synchrony.best, found: slices.Clone(w.alignments)}}
		for i := range a.all.found {
			a.all.found[i].score = math.Inf(1) // those of an earlier pass stay in
		}
		a.power = sync.OnceValue(func() *power { return newAnalysis().power(x.sound[w.start:][:w.samples]) })
		for _, part := range divided {
			jobs = append(jobs, job{a, part})
		}
	}
	return x.each(ctx, len(jobs), from, to, func(i int) {
		w, power := jobs[i].w, jobs[i].w.power()
		al := &aligner{signs: x.signs}
		var readings []*reading
		for _, t := range jobs[i].tries {
			if len(readings) == 0 || readings[0].pitch != t.pitch {
				readings = power.readings(t.pitch)
				if len(tries) > many {
					readings = slices.Delete(readings, 1, 2) // it is seldom much better than both others
				}
			}
			for _, r := range readings {
				for first := range slotFrames {
					al.try(r, t.speed, float64(first))
				}
			}
		}
		if !w.finish(al) {
			return
		}
		all := w.all
		w.power, w.all = nil, nil // the largest things there are: never kept
		w.alignments = all.ranked(keep, power.frames)
		for j := range w.alignments {
			if len(x.windows) > readingsKept {
				w.alignments[j].reading = nil
			}
		}
		w.synchrony = synchrony{best: all.best, tried: all.tried}
	})
}

// finish takes a part's guesses to those of the others, and says whether it was the last.
func (w *aligning) finish(al *aligner) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.tried += al.tried
	w.all.best = max(w.all.best, al.best)
	w.all.found = append(w.all.found, al.found...)
	w.all.prune()
	w.left--
	return w.left == 0
}

// keep is how many alignments of a window legs are tried with: fewer where that would take too long.
func (x *searcher) keep(windows []*window) int {
	budget := 1.2e11 // look-ups: some minutes
	if len(windows) > 0 && windows[0].level == scraps {
		budget /= 8
	}
	look := 0.0
	for _, s := range x.Suspects {
		look += float64(s.Tiles) / PeriodTiles
	}
	samples := 0.0
	for _, w := range windows {
		samples += float64(w.samples)
	}
	look *= samples / Rate * SlotsPerSecond / TileSlots
	return int(max(3, min(40, budget/(look+1))))
}

// follow tries every suspect at every position in the windows' alignments.
func (x *searcher) follow(ctx context.Context, windows []*window, from, to float64) error {
	type job struct {
		w    *window
		rank int
	}
	var jobs []job
	for _, w := range windows {
		for rank := range w.alignments {
			jobs = append(jobs, job{w, rank})
		}
	}
	var mu sync.Mutex // guards the windows' seeds and tried
	return x.each(ctx, len(jobs), from, to, func(i int) {
		seeds, scored, positions := x.suspects(ctx, jobs[i].w, jobs[i].rank)
		mu.Lock()
		defer mu.Unlock()
		w := jobs[i].w
		w.seeds = best(append(w.seeds, seeds...), seedsKept)
		x.tried.Scores += scored
		x.tried.Positions = max(x.tried.Positions, positions)
		x.tried.Followed++
	})
}

func best(seeds []seed, n int) []seed {
	slices.SortFunc(seeds, func(a, b seed) int {
		return cmp.Or(cmp.Compare(a.logP+a.places, b.logP+b.places), cmp.Compare(a.rank, b.rank), cmp.Compare(a.suspect, b.suspect))
	})
	return seeds[:min(n, len(seeds))]
}

// suspects returns the best places of legs in one alignment.
func (x *searcher) suspects(ctx context.Context, w *window, rank int) (seeds []seed, scored, most int) {
	var sc scores
	sc.round(w.alignments[rank].tiles)
	var all places
	all.set(&sc)
	least := 0 // the score of the last seed that is kept
	for i, code := range x.codes {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, 0, 0
		}
		first, count := sc.positions(len(code))
		most = max(most, count)
		scored += count
		top, place := 0, 0
		for p, sum := range all.along(code, first, count) {
			if sum > top {
				top, place = sum, first+p*PeriodTiles
			}
		}
		if top <= least {
			continue
		}
		seeds = append(seeds, seed{window: w, rank: rank, suspect: i, tile: place, bits: len(sc.bits), sum: top})
		if len(seeds) == 4*seedsKept {
			seeds = highest(seeds)
			least = seeds[seedsKept-1].sum
		}
	}
	seeds = highest(seeds)
	for i := range seeds {
		_, count := sc.positions(len(x.codes[seeds[i].suspect]))
		seeds[i].logP = logTail(sc.bits, seeds[i].sum)
		seeds[i].places = weight(w, rank, count)
	}
	return best(seeds, seedsKept), scored, most
}

// highest returns the seeds of one alignment that score best.
func highest(seeds []seed) []seed {
	slices.SortFunc(seeds, func(a, b seed) int { return cmp.Or(cmp.Compare(b.sum, a.sum), cmp.Compare(a.suspect, b.suspect)) })
	return seeds[:min(seedsKept, len(seeds))]
}

// weight is the logarithm of the weight of a place: the positions of the leg, and h·(h+1) for the h-th alignment. The
// inverses of these add up to one, so the bound holds over all alignments at once. The same is done for the passes and
// for the lengths of windows.
func weight(w *window, rank, positions int) float64 {
	h := float64(rank + 1)
	places := float64(positions) * h * (h + 1)
	if w.wide {
		places *= 2
	}
	return math.Log(places * float64(len(windowLengths)))
}
