package main

import (
	"context"
	"fmt"
	"math"

	"conclave/watermark"
)

// quality prints what the mark does to speech: by sample, and by what an ear can tell.
func (b *bench) quality(context.Context) error {
	fmt.Fprintf(b.out, "What the mark does to speech (40 s each): SNR, segmental SNR (20 ms, -10 to 35 dB), noise-to-mask ratio after ITU-R BS.1387\n(simplified: 109 bands on the Bark scale, spread, 3 dB + 0.25 dB a band below; below 0 dB nothing is heard)\n\n")
	for _, v := range [...]struct{ name, code string }{{"English", "en"}, {"French", "fr"}, {"Italian", "it"}, {"Russian", "ru"}} {
		sound, err := meeting(40, 4, v.code)
		if err != nil {
			return err
		}
		snr, segmental, nmr := heard(sound)
		fmt.Fprintf(b.out, "  %-8s SNR %5.1f dB   segmental %5.1f dB   NMR %6.1f dB", v.name, snr, segmental, nmr)
		mp3, err := by("mp3", "-c:a", "libmp3lame", "-b:a", "64k")(sound)
		if err != nil {
			return err
		}
		best, d := math.Inf(1), 0
		for lag := 0; lag < 4000; lag++ { // the coder's delay
			if lag+480000 > len(mp3) {
				break
			}
			sum := 0.0
			for i := 96000; i < 98400; i++ {
				x := float64(mp3[i+lag] - sound[i])
				sum += x * x
			}
			if sum < best {
				best = sum
				d = lag
			}
		}
		n := min(len(sound), len(mp3)-d)
		fmt.Fprintf(b.out, "   (MP3 of 64 kbit/s: %.1f dB)\n", noiseToMask(sound[:n], mp3[d:d+n]))
	}
	return nil
}

// heard says what marking does to 48-kHz sound, in decibels.
func heard(sound []float32) (snr, segmental, nmr float64) {
	e, err := watermark.NewEmbedder(48000, 1, 0, syncKey(), key(0).Code())
	if err != nil {
		panic(err)
	}
	out := append([]float32(nil), sound...)
	e.Process(out)
	clean := sound[:len(sound)-e.Delay()]
	snr, segmental = ratios(clean, out[e.Delay():])
	return snr, segmental, noiseToMask(clean, out[e.Delay():])
}

// ratios returns the signal-to-noise ratio and its mean over segments of 20 ms with speech in them.
func ratios(clean, changed []float32) (snr, segmental float64) {
	var s, n float64
	count := 0
	const length = 960
	for at := 0; at+length <= len(clean); at += length {
		var a, b float64
		for i := at; i < at+length; i++ {
			x, d := float64(clean[i]), float64(clean[i]-changed[i])
			a += x * x
			b += d * d
		}
		s, n = s+a, n+b
		if a/length > 1e-6 {
			segmental += max(-10, min(35, 10*math.Log10(a/(b+1e-12))))
			count++
		}
	}
	return 10 * math.Log10(s/n), segmental / float64(max(count, 1))
}

// noiseToMask is the mean, over frames of 43 ms and bands, of the ratio of the change's energy to what the sound masks.
func noiseToMask(clean, changed []float32) float64 {
	const size, bands = 2048, 109
	bark := func(f float64) float64 { return 7 * math.Asinh(f/650) }
	low, high := bark(80), bark(18000)
	edge := func(k int) float64 { return 650 * math.Sinh((low+(high-low)*float64(k)/bands)/7) }
	width := (high - low) / bands
	var spread [2*bands - 1]float64 // of a masker so many bands away, plus bands-1
	for i := range spread {
		d := width * float64(i-bands+1) // in Bark; 27 dB a Bark below a masker, about 20 above
		slope := 20.0
		if d < 0 {
			slope = 27
		}
		spread[i] = math.Pow(10, -slope*math.Abs(d)/10)
	}
	total, frames := 0.0, 0
	for at := 0; at+size <= len(clean); at += size / 2 {
		a, b := make([]float64, size), make([]float64, size)
		level := 0.0
		for i := range a {
			w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/size)
			x, y := float64(clean[at+i]), float64(changed[at+i])
			a[i], b[i] = w*x, w*(y-x)
			level += x * x
		}
		if level/size < 1e-6 {
			continue
		}
		sa, sb := spectrum(a), spectrum(b)
		var ea, eb [bands]float64
		for k := range bands {
			from, to := edge(k)*size/48000, edge(k+1)*size/48000
			for i := int(from); i <= int(to); i++ {
				share := min(float64(i+1), to) - max(float64(i), from)
				if share > 0 && i < len(sa) {
					ea[k] += share * sa[i]
					eb[k] += share * sb[i]
				}
			}
		}
		sum := 0.0
		for k := range bands {
			mask := 0.0
			for j := range bands {
				mask += ea[j] * spread[k-j+bands-1]
			}
			offset := 3.0
			if z := width * float64(k); z > 12 {
				offset = 0.25 * z
			}
			sum += eb[k] / (mask*math.Pow(10, -offset/10) + 1e-9)
		}
		total += sum / bands
		frames++
	}
	return 10 * math.Log10(total/float64(max(frames, 1)))
}

// spectrum returns the power of a power-of-two number of samples.
func spectrum(x []float64) []float64 {
	z := make([]complex128, len(x))
	for i, v := range x {
		z[i] = complex(v, 0)
	}
	fourier(z)
	out := make([]float64, len(x)/2)
	for i := range out {
		out[i] = real(z[i])*real(z[i]) + imag(z[i])*imag(z[i])
	}
	return out
}
