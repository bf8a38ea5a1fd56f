package rtp

// KeyFrameStart reports whether an RTP payload begins a VP8 key frame: RFC 7741, Section 4.2 (descriptor: S bit set,
// partition 0) and Section 4.3 (first bit of the frame: 0). A sealed frame keeps that much: the sender puts ten synthetic
// bytes of a key frame, or the byte 1, before what it has sealed.
func KeyFrameStart(b []byte) bool {
	const (
		extended  = 0x80 // X
		start     = 0x10 // S
		partition = 0x07 // PID
	)
	if len(b) < 2 || b[0]&start == 0 || b[0]&partition != 0 {
		return false
	}
	n := 1
	if b[0]&extended != 0 {
		const (
			pictureID = 0x80 // I
			tl0       = 0x40 // L
			tid       = 0x20 // T
			keyIdx    = 0x10 // K
			long      = 0x80 // M
		)
		flags := b[1]
		n++
		if flags&pictureID != 0 {
			if len(b) <= n {
				return false
			}
			if b[n]&long != 0 {
				n++
			}
			n++
		}
		if flags&tl0 != 0 {
			n++
		}
		if flags&(tid|keyIdx) != 0 {
			n++
		}
	}
	return len(b) > n && b[n]&1 == 0
}
