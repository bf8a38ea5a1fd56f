package headless

import (
	"time"

	"conclave/endpoint"
	"conclave/opus"
	"conclave/sfu/slot"
	"conclave/watermark"
)

// marker marks what one member says before the client's owner gets it: decoded, marked, encoded again.
type marker struct {
	decoder  *opus.Decoder
	embedder *watermark.Embedder
	encoder  *opus.Encoder
	last     uint32 // the timestamp of the packet before
	pcm      []float32
	frame    [opus.FrameSamples]int16
	lost     [opus.FrameSamples]float32
	packet   []byte
}

// longestGap is how much sound, in samples, may be missing before the mark goes by the clock anew: a second. A path that was
// made anew takes longer, and its clock may begin anywhere.
const longestGap = opus.SampleRate

// Mark implements endpoint.Marker.
func (p *path) Mark(m *endpoint.Marking) {
	if p.client.cfg.Marked != nil {
		p.client.cfg.Marked(m)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marking = m
	p.dropMarkers()
}

// dropMarkers ends all markers. mu is held.
func (p *path) dropMarkers() {
	for _, m := range p.markers {
		m.encoder.Close()
	}
	clear(p.markers)
}

// marked returns a packet with the leg's mark; nil: it cannot be marked, and is not to be handed out. mu is held.
func (p *path) marked(v voice, packet []byte, timestamp uint32) []byte {
	m := p.markers[v.leaf]
	var gap int32
	if m != nil {
		gap = int32(timestamp - m.last)
	}
	if m == nil || gap > longestGap || gap < -longestGap {
		// The mark goes by the clock, so that all members' sound has the same pattern at the same time.
		begin := max(0, int(time.Since(p.marking.Began).Milliseconds())*(opus.SampleRate/1000))
		embedder, err := watermark.NewEmbedder(opus.SampleRate, 1, begin, p.marking.Sync, p.marking.Code)
		if err != nil {
			return nil
		}
		if m == nil {
			m = new(marker)
			if m.decoder, err = opus.NewDecoder(); err != nil {
				return nil
			}
			if m.encoder, err = opus.NewEncoder(opus.Config{}); err != nil {
				return nil
			}
			p.markers[v.leaf] = m
		}
		m.embedder = embedder
	} else if gap <= 0 {
		return nil // its place in the mark is past
	} else {
		// For what was lost on the way the mark's time passes as well; the sound of it is nobody's.
		for ; gap > opus.FrameSamples; gap -= opus.FrameSamples {
			clear(m.lost[:])
			m.embedder.Process(m.lost[:])
		}
	}
	m.last = timestamp
	samples, err := m.decoder.Decode(packet)
	if err != nil {
		return nil
	}
	m.pcm = m.pcm[:0]
	for _, x := range samples {
		m.pcm = append(m.pcm, float32(x)/32768)
	}
	m.embedder.Process(m.pcm)
	// All of the room's packets have 20 ms; what a peer makes longer or shorter is cut or filled.
	clear(m.frame[:])
	for i, x := range m.pcm[:min(len(m.pcm), len(m.frame))] {
		m.frame[i] = int16(max(-32768, min(32767, x*32768)))
	}
	if m.packet, err = m.encoder.Encode(m.packet[:0], m.frame[:]); err != nil {
		return nil
	}
	return m.packet
}

// handed is what the client's owner gets of an opened frame. mu is held.
func (p *path) handed(v voice, frame []byte, timestamp uint32) []byte {
	if v.kind != slot.Microphone || p.marking == nil {
		return frame
	}
	return p.marked(v, frame, timestamp)
}
