package watermark

import "math"

// strip is how many rows or columns go through memory at once: a line of the cache.
const strip = 8

// plane is a real field's transform over time and bands, of which half says all: frames of even number are the real part of what is
// transformed over time, those of odd number the imaginary part.
type plane struct {
	half, cols int // rows of the half, and columns: powers of two
	bands      int // columns that hold anything before the transform
	stride     int // between columns in re and im: no power of two, which would fall on the same lines of the cache
	re, im     []float64
	// The transform, row by row.
	rowsRe, rowsIm []float64
}

// whiten returns R⁻¹·f of the lowest bands, where R is the field's own covariance, taken to be the same everywhere: what is smooth in
// time or along the bands (speech, a room, a microphone) is taken away, what the embedder does stays.
func whiten(f *field, bands int) *field {
	p := &plane{half: 1, cols: 1, bands: bands}
	for 2*p.half < f.frames {
		p.half *= 2
	}
	for p.cols < bands {
		p.cols *= 2
	}
	p.stride = p.half + strip
	p.re, p.im = make([]float64, bands*p.stride), make([]float64, bands*p.stride)
	p.rowsRe, p.rowsIm = make([]float64, p.half*p.cols), make([]float64, p.half*p.cols)
	p.fill(f)
	p.forward()
	scale := p.flatten()
	p.backward()
	out := newField(f.frames, bands)
	for t := range f.frames {
		v := p.re
		if t%2 == 1 {
			v = p.im
		}
		for b, row := 0, out.row(t); b < bands; b++ {
			row[b] = float32(v[b*p.stride+t/2] * scale)
		}
	}
	return out
}

// fill takes the lowest bands, each with its mean taken away.
func (p *plane) fill(f *field) {
	var mean [Bands]float64
	for t := range f.frames {
		for b, x := range f.row(t)[:p.bands] {
			mean[b] += float64(x)
		}
	}
	for b := range mean {
		mean[b] /= float64(max(f.frames, 1))
	}
	for t := range f.frames {
		v := p.re
		if t%2 == 1 {
			v = p.im
		}
		for b, x := range f.row(t)[:p.bands] {
			v[b*p.stride+t/2] = float64(x) - mean[b]
		}
	}
}

func (p *plane) forward() {
	down, across := sharedFFT(p.half), sharedFFT(p.cols)
	for b := range p.bands {
		down.forward(p.re[b*p.stride:][:p.half], p.im[b*p.stride:][:p.half])
	}
	for t := 0; t < p.half; t += strip {
		n := min(strip, p.half-t)
		re, im := p.rowsRe[t*p.cols:][:n*p.cols], p.rowsIm[t*p.cols:][:n*p.cols]
		for b := range p.bands {
			from, fromIm := p.re[b*p.stride+t:][:n], p.im[b*p.stride+t:][:n]
			for k, x := range from {
				re[k*p.cols+b], im[k*p.cols+b] = x, fromIm[k]
			}
		}
		for k := range n {
			across.forward(re[k*p.cols:][:p.cols], im[k*p.cols:][:p.cols])
		}
	}
}

func (p *plane) backward() {
	down, across := sharedFFT(p.half), sharedFFT(p.cols)
	for t := 0; t < p.half; t += strip {
		n := min(strip, p.half-t)
		re, im := p.rowsRe[t*p.cols:][:n*p.cols], p.rowsIm[t*p.cols:][:n*p.cols]
		for k := range n {
			across.backward(re[k*p.cols:][:p.cols], im[k*p.cols:][:p.cols])
		}
		for b := range p.bands {
			to, toIm := p.re[b*p.stride+t:][:n], p.im[b*p.stride+t:][:n]
			for k := range to {
				to[k], toIm[k] = re[k*p.cols+b], im[k*p.cols+b]
			}
		}
	}
	for b := range p.bands {
		down.backward(p.re[b*p.stride:][:p.half], p.im[b*p.stride:][:p.half])
	}
}

// pairs calls f with each place of the half's transform, i, and that of the opposite frequency, j; both with their rows and columns, and
// the factor exp(-2πi·row/(2·half)) that takes the frames of odd number to their time.
func (p *plane) pairs(f func(i, j int, row, col, other int, c, s float64)) {
	for row := 0; row <= p.half/2; row++ {
		opposite := (p.half - row) % p.half
		s, c := math.Sincos(-math.Pi * float64(row) / float64(p.half))
		for col := range p.cols {
			other := (p.cols - col) % p.cols
			if opposite == row && other < col {
				continue
			}
			f(row*p.cols+col, opposite*p.cols+other, row, col, other, c, s)
		}
	}
}

// flatten divides the field's transform by its smoothed power. The scale that it returns is of no account; it keeps the values near 1.
func (p *plane) flatten() (scale float64) {
	const margin = 6 // twice what one smoothing reaches over the edges
	re, im := p.rowsRe, p.rowsIm
	power := make([]float64, (p.half+1+2*margin)*p.cols) // from row -margin up to row half+margin
	at := power[margin*p.cols:]
	p.pairs(func(i, j, row, col, other int, c, s float64) {
		// The transforms of the even and the odd frames, and from these the field's, at the row and half the rows above it.
		er, ei, or, oi := (re[i]+re[j])/2, (im[i]-im[j])/2, (im[i]+im[j])/2, (re[j]-re[i])/2
		tr, ti := or*c-oi*s, or*s+oi*c
		low, high := (er+tr)*(er+tr)+(ei+ti)*(ei+ti), (er-tr)*(er-tr)+(ei-ti)*(ei-ti)
		at[row*p.cols+col], at[(p.half-row)*p.cols+other] = low, high
		if row == 0 {
			at[other], at[p.half*p.cols+col] = low, high
		}
	})
	for k := 1; k <= margin; k++ {
		p.mirror(at, power[(margin-k)*p.cols:][:p.cols], -k)
		p.mirror(at, at[(p.half+k)*p.cols:][:p.cols], p.half+k)
	}
	rows := p.half + 1 + 2*margin
	smooth(power, rows, p.cols, 3, 1)
	smooth(power, rows, p.cols, 3, 1)
	mean := 0.0
	for i, x := range at[:(p.half+1)*p.cols] {
		if i < p.cols || i >= p.half*p.cols {
			x /= 2 // the other rows are there twice
		}
		mean += x
	}
	mean /= float64(p.half * p.cols)
	floor := mean*1e-6 + 1e-30
	for i, x := range at[:(p.half+1)*p.cols] {
		at[i] = 1 / (x + floor)
	}
	p.pairs(func(i, j, row, col, other int, c, s float64) {
		er, ei, or, oi := (re[i]+re[j])/2, (im[i]-im[j])/2, (im[i]+im[j])/2, (re[j]-re[i])/2
		tr, ti := or*c-oi*s, or*s+oi*c
		low, high := at[row*p.cols+col], at[(p.half-row)*p.cols+other]
		lr, li, hr, hi := low*(er+tr), low*(ei+ti), high*(er-tr), high*(ei-ti)
		er, ei, tr, ti = (lr+hr)/2, (li+hi)/2, (lr-hr)/2, (li-hi)/2
		or, oi = tr*c+ti*s, ti*c-tr*s
		re[i], im[i], re[j], im[j] = er-oi, ei+or, er+oi, or-ei
	})
	return floor * 1e6 / float64(p.half*p.cols)
}

// mirror writes a row of a real field's power that lies outside those that are there.
func (p *plane) mirror(power, dst []float64, row int) {
	row = (row%(2*p.half) + 2*p.half) % (2 * p.half)
	if row <= p.half {
		copy(dst, power[row*p.cols:][:p.cols])
		return
	}
	from := power[(2*p.half-row)*p.cols:][:p.cols]
	for col := range dst {
		dst[col] = from[(p.cols-col)%p.cols]
	}
}
