package headless

import (
	"time"

	"github.com/pion/rtp/codecs"

	"conclave/endpoint/media"
)

// maxPicture bounds a frame of video; a screen's key frame has some hundred kilobytes.
const maxPicture = 2 << 20

// keyFrameAgain is how often a key frame is asked for.
const keyFrameAgain = time.Second

// picture puts the packets of one slot together to frames.
type picture struct {
	frame   []byte
	next    uint64 // the index that goes on with the frame
	whole   bool   // from its beginning, without a gap
	started bool
	asked   time.Time
}

// take returns a frame once its last packet is there, valid until the next call, and whether a key frame should be asked
// for: something was lost.
func (p *picture) take(k media.Packet) (frame []byte, again bool) {
	var vp8 codecs.VP8Packet
	body, err := vp8.Unmarshal(k.Payload)
	if err != nil {
		return nil, false
	}
	lost := p.started && k.Index != p.next
	if p.started && k.Index < p.next {
		return nil, false // late: its frame is given up
	}
	p.started, p.next = true, k.Index+1
	switch {
	case vp8.S == 1 && vp8.PID == 0:
		p.frame, p.whole = append(p.frame[:0], body...), true
	case lost || len(p.frame)+len(body) > maxPicture:
		p.whole = false
	case p.whole:
		p.frame = append(p.frame, body...)
	}
	if lost && time.Since(p.asked) > keyFrameAgain {
		p.asked, again = time.Now(), true
	}
	if k.Marker && p.whole {
		p.whole = false
		return p.frame, again
	}
	return nil, again
}
