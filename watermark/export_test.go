package watermark

import "math"

// Fits says how well a code fits sound that begins at a time of the leg, in samples: the best score, in standard deviations of
// an innocent leg's, of the readings that are searched, each band by its weight, and of the plain ones (all bands, and the telephone's)
// alone.
func Fits(sync *Sync, code *Code, sound []float32, began int) (searched, plain float64) {
	p := newAnalysis().power(sound)
	bytes := make([]byte, (began+len(sound))*25/8/Rate+8)
	code.Fill(bytes, 0)
	signs := newSigns(sync)
	best := func(chips *chips, weigh bool) float64 {
		z := math.Inf(-1)
		for d := -4.0; d <= 4; d++ { // the embedder's delay is a frame
			slot := (float64(began)+windowSize/2)/(slotFrames*hop) - 0.5 + d/slotFrames
			phase := math.Ceil(slot)
			a := &alignment{reading: &reading{chips, 1}, speed: 1, first: (phase - slot) * slotFrames, phase: int(phase) % Period}
			var ts tiles
			var sc scores
			if weigh {
				ts.weigh(sync, a)
			} else {
				ts.read(signs, a)
			}
			sc.set(&ts)
			squares := 0.0
			for _, x := range sc.squares {
				squares += x
			}
			z = max(z, float64(sc.at(bytes, int(phase)/Period*PeriodTiles+a.phase/TileSlots))/math.Sqrt(squares))
		}
		return z
	}
	for _, r := range p.readings(1) {
		searched = max(searched, best(r.chips, true))
	}
	levels := levels(p.energies(1))
	for _, bands := range [...]int{Bands, NarrowBands} {
		plain = max(plain, best(pack(added(newField(levels.frames, Bands), judged(whiten(levels, bands)))), false))
	}
	return searched, plain
}
