package dsp

// Noise is comfort noise: so soft that nobody minds it (about −66 dBFS), so that a phone's silence does not sound like a
// dead line, and so that its packets keep a path through NAT open. The zero value is ready.
type Noise struct{ state, low uint32 }

// Fill fills f.
func (n *Noise) Fill(f *Frame) {
	low := int32(n.low)
	for i := range f {
		n.state = n.state*1664525 + 1013904223 // Numerical Recipes; chance is of no matter here
		low += (int32(n.state)>>22 - low) / 4
		f[i] = int16(low / 8)
	}
	n.low = uint32(low)
}
