package sfu

import (
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"
	"time"

	"conclave/sfu/rtp"
	"conclave/sfu/srtp"
	"conclave/sfu/udp"
)

const (
	receiveSlots = 512 // datagrams between two flushes at most
	stageSize    = 512 // packets of one room between two flushes
	pliInterval  = 400 * time.Millisecond
	reportEvery  = time.Second
)

// stage is where a room's packets wait for the flush. The forwarder's.
type stage struct {
	audio, video []packet
	mixed        bool // audio packets differ in size
	staged       bool // in forwarder.rooms
	flushes      uint64
	reported     time.Duration
}

// forwarder owns the socket's receiving side and all media state. One goroutine runs it. All that is per server core
// is in here: a second forwarder with its own socket could take a share of the rooms.
type forwarder struct {
	sfu     *SFU
	socket  *udp.Socket
	batch   *udp.Batch
	buffers [][]byte
	in      []udp.Datagram
	rooms   []*Room // with packets staged
	now     time.Duration

	gather  gatherer
	sent    uint64 // RTP packets since the last flush's end
	header  [rtp.HeaderSize]byte
	resent  packet
	scratch []byte // an RTCP packet in the making
	nack    rtp.NACK
	budget  int // retransmissions left in this second
	second  time.Duration
}

func newForwarder(s *SFU) *forwarder {
	f := &forwarder{
		sfu:     s,
		socket:  s.socket,
		batch:   udp.NewBatch(s.socket),
		buffers: make([][]byte, receiveSlots),
		in:      make([]udp.Datagram, receiveSlots),
		rooms:   make([]*Room, 0, 64),
		scratch: make([]byte, 0, udp.MaxDatagram),
		gather:  gatherer{longest: s.config.MaxGather},
		budget:  resendBudget,
	}
	all := make([]byte, receiveSlots*udp.MaxDatagram)
	for i := range f.buffers {
		f.buffers[i] = all[i*udp.MaxDatagram : (i+1)*udp.MaxDatagram : (i+1)*udp.MaxDatagram]
	}
	return f
}

// run forwards until the socket is closed.
func (f *forwarder) run() error {
	var yielded time.Duration
	for {
		if err := f.turn(); err != nil {
			return err
		}
		// Blocking system calls are not scheduling: a goroutine that does nothing else looks to the runtime's monitor as if
		// it had run for ever (10 ms), and is then watched every 20 µs, which cost a seventh of all time.
		if f.now-yielded > 4*time.Millisecond {
			yielded = f.now
			runtime.Gosched()
		}
	}
}

// turn waits for packets, gathers more if there is much to do, and forwards them all.
func (f *forwarder) turn() error {
	n, err := f.socket.Receive(f.buffers, f.in, true)
	if err != nil {
		return err
	}
	f.now = f.sfu.now()
	more := n == udp.MaxReceive
	// Packets wait in the socket's buffer. Those of a quiet moment do not wait at all: the last flush is long ago.
	if wait := f.gather.wait(f.now); wait > 0 {
		udp.Pause(wait)
		f.now, more = f.sfu.now(), true
	}
	for more && n < receiveSlots {
		got, err := f.socket.Receive(f.buffers[n:], f.in[n:], false)
		if err != nil {
			return err
		}
		n, more = n+got, got == udp.MaxReceive
	}
	f.sfu.stats.received.Add(uint64(n))
	addresses := *f.sfu.addresses.Load()
	for i := range f.in[:n] {
		f.take(&f.in[i], addresses)
	}
	f.flush()
	return nil
}

// take sorts one datagram by its first byte (RFC 7983).
func (f *forwarder) take(d *udp.Datagram, addresses map[udp.Address]*transport) {
	stats := &f.sfu.stats
	if len(d.Data) < rtp.HeaderSize {
		stats.malformed.Add(1)
		return
	}
	first := d.Data[0]
	if first < 4 {
		if len(d.Data) > maxSTUN {
			stats.malformed.Add(1)
			return
		}
		select {
		case f.sfu.requests <- udp.Datagram{Data: append([]byte(nil), d.Data...), From: d.From, To: d.To}:
		default:
			stats.stunDropped.Add(1)
		}
		return
	}
	t := addresses[d.From]
	if t == nil {
		stats.stranger.Add(1)
		return
	}
	switch {
	case first >= 20 && first < 64:
		t.push(d.Data)
	case first < 128 || first > 191:
		stats.malformed.Add(1)
	case d.Data[1] >= 192 && d.Data[1] <= 223: // RFC 5761, Section 4
		f.takeRTCP(d.Data, t)
	default:
		f.takeRTP(d.Data, t)
	}
}

func (t *transport) inbound(ssrc uint32) *inbound {
	for i := range t.in {
		if in := &t.in[i]; in.ssrc == ssrc && ssrc != 0 {
			return in
		}
	}
	return nil
}

// takeRTP opens a packet and stages it for its room.
func (f *forwarder) takeRTP(b []byte, t *transport) {
	stats := &f.sfu.stats
	h, ok := rtp.ParseHeader(b)
	if !ok {
		stats.malformed.Add(1)
		return
	}
	k, in := t.keys.Load(), t.inbound(h.SSRC)
	if k == nil || in == nil || h.PayloadType != t.payloadType[in.kind-1] {
		stats.stranger.Add(1)
		return
	}
	before, started := in.window.Highest()
	payload, index, err := k.opener.OpenRTP(b, h.Size, h.SSRC, h.Sequence, &in.window)
	if err != nil {
		if err == srtp.ErrReplay {
			stats.replayed.Add(1)
		} else {
			stats.forged.Add(1)
		}
		return
	}
	// Packets of a leg that is not open were opened, so that the rollover counter is right when it is; no more.
	t.heard.Store(int64(f.now))
	in.last.Store(int64(f.now))
	t.meter.received.Add(1)
	body := payload
	if h.Pad {
		if n := len(body); n == 0 || body[n-1] == 0 || int(body[n-1]) > n {
			stats.malformed.Add(1)
			return
		}
		body = body[:len(body)-int(body[len(body)-1])]
	}
	if in.kind.Video() {
		in.receipt.Note(index, h.Timestamp, rtp.VideoClock, f.now)
		if started {
			in.gaps.Note(index, before, f.now)
		}
	} else {
		in.receipt.Note(index, h.Timestamp, rtp.AudioClock, f.now)
		if len(body) > 0 {
			in.hear(body[len(body)-1])
		}
	}
	if !t.open.Load() {
		return
	}
	if in.kind.Video() {
		f.ask(t, k, in, rtp.KeyFrameStart(body))
	}
	f.stage(in, index, packet{owner: t, ts: h.Timestamp, marker: h.Marker, pad: h.Pad, payload: payload}, body)
}

// ask sends what a video publisher is to be asked for: lost packets, and a key frame if somebody waits for one.
func (f *forwarder) ask(t *transport, k *keys, in *inbound, isKey bool) {
	if isKey {
		in.wantKey.Store(false)
	} else if in.wantKey.Load() && (in.asked == 0 || f.now-in.asked >= pliInterval) {
		in.asked = f.now
		in.wantKey.Store(false)
		f.sendRTCP(t, k, rtp.AppendPLI(f.scratch[:0], in.ssrc))
	}
	if in.gaps.Any() {
		f.nack.Reset()
		in.gaps.Due(f.now, f.nack.Add)
		if !f.nack.Empty() {
			f.sendRTCP(t, k, f.nack.Append(f.scratch[:0], in.ssrc))
		}
	}
}

// stage puts a packet into its room's stage, renumbered for its lane. body is its payload without padding.
func (f *forwarder) stage(in *inbound, index uint64, p packet, body []byte) {
	g := in.grant.Load()
	if g == nil {
		return
	}
	room, l := in.of.room, &g.seat.out
	video := in.kind.Video()
	if l.era != g {
		if video && !rtp.KeyFrameStart(body) {
			in.wantKey.Store(true) // and still, until one comes
			return
		}
		l.enter(g, in, index, p.ts, f.now)
		p.marker = p.marker || !video // a talk spurt begins
	}
	if index < l.first {
		return
	}
	l.close(index)
	p.seat, p.index, p.previous = g.seat, index+l.base, l.highest
	p.ts += l.tsBase
	if p.index > l.highest {
		l.highest, l.at = p.index, f.now
		if int32(p.ts-l.ts) > 0 || p.index == rtp.FirstIndex {
			l.ts = p.ts
		}
	}
	l.packets++
	l.octets += uint32(len(p.payload))
	st := &room.stage
	if !st.staged {
		st.staged = true
		f.rooms = append(f.rooms, room)
	}
	if video {
		if l.ring == nil {
			l.ring = new(ring)
		}
		l.ring.put(&p)
		st.video = append(st.video, p)
	} else {
		st.mixed = st.mixed || len(st.audio) > 0 && len(st.audio[0].payload) != len(p.payload)
		if l.flush != st.flushes || l.size == 0 {
			l.flush, l.size = st.flushes, len(p.payload)
		}
		st.audio = append(st.audio, p)
	}
	if len(st.audio) == stageSize || len(st.video) == stageSize {
		f.flushRoom(room)
	}
}

// flush seals and sends all that is staged.
func (f *forwarder) flush() {
	for i, r := range f.rooms {
		f.flushRoom(r)
		if f.now-r.stage.reported >= reportEvery {
			f.reportRoom(r)
		}
		r.stage.staged = false
		f.rooms[i] = nil
	}
	f.rooms = f.rooms[:0]
	f.batch.Send()
	sends, failed := f.batch.Counts()
	f.sfu.stats.sends.Add(uint64(sends))
	f.sfu.stats.sendFailed.Add(uint64(failed))
	f.gather.flushed(f.now, f.sent)
	f.sent = 0
}

func (f *forwarder) flushRoom(r *Room) {
	st := &r.stage
	if st.mixed {
		// Equal sizes side by side make fewer messages. Stable, and a lane's packets have one key: they keep their order.
		slices.SortStableFunc(st.audio, bySize)
	}
	total := 0
	for _, t := range r.table.Load().receivers {
		p, k := t.path.Load(), t.keys.Load()
		if p == nil || k == nil || !t.open.Load() {
			continue
		}
		n := 0
		for i := range st.audio {
			n += f.forward(t, k, p, &st.audio[i])
		}
		for i := range st.video {
			n += f.forward(t, k, p, &st.video[i])
		}
		total += n
	}
	f.sfu.stats.forwarded.Add(uint64(total))
	f.sent += uint64(total)
	// Payloads were read for the last time: the stage must not keep the buffers' later contents in mind.
	st.audio, st.video, st.mixed = st.audio[:0], st.video[:0], false
	st.flushes++
}

func bySize(a, b packet) int { return cmp.Compare(a.seat.out.size, b.seat.out.size) }

// forward seals one packet for one receiver.
func (f *forwarder) forward(t *transport, k *keys, to *udp.Path, p *packet) int {
	if p.owner == t {
		return 0
	}
	index, ok := t.streams[p.seat.number].Next(p.index, p.previous)
	if !ok {
		return 0
	}
	f.seal(t, k, to, p, index)
	return 1
}

func (f *forwarder) seal(t *transport, k *keys, to *udp.Path, p *packet, index uint64) {
	h := &f.header
	h[0] = 0x80
	if p.pad {
		h[0] |= 32
	}
	h[1] = t.payloadType[p.seat.name.Kind-1]
	if p.marker {
		h[1] |= 128
	}
	binary.BigEndian.PutUint16(h[2:], uint16(index))
	binary.BigEndian.PutUint32(h[4:], p.ts)
	ssrc := p.seat.out.ssrc
	binary.BigEndian.PutUint32(h[8:], ssrc)
	f.batch.Add(to, k.sealer.SealRTP(f.batch.Reserve(), h[:], p.payload, ssrc, index))
}

// sendRTCP seals an RTCP packet and puts it into the batch. packet may be f.scratch.
func (f *forwarder) sendRTCP(t *transport, k *keys, packet []byte) {
	to := t.path.Load()
	if to == nil || len(packet) == 0 {
		return
	}
	b := f.batch.Reserve()
	if sealed := k.sealer.SealRTCP(b, packet); len(sealed) > len(b) {
		f.batch.Add(to, sealed)
	}
}

// resend seals again what a receiver says it has lost. The same index gets the same plaintext, so the same packet.
func (f *forwarder) resend(t *transport, k *keys, s *seat, seq uint16) {
	to := t.path.Load()
	if s.out.ring == nil || to == nil {
		return
	}
	st := &t.streams[s.number]
	index, own, ok := st.Back(seq)
	if !ok || !s.out.ring.get(index, &f.resent) || f.resent.owner == t {
		return
	}
	if second := f.now / time.Second; second != f.second {
		f.second, f.budget = second, resendBudget
	}
	if f.budget == 0 {
		return
	}
	f.budget--
	f.resent.seat = s
	f.seal(t, k, to, &f.resent, own)
	f.sfu.stats.retransmitted.Add(1)
}

// resendBudget bounds retransmissions of the whole server in a second: a peer may ask for anything.
const resendBudget = 20_000

// gatherer chooses how long packets are gathered before they are sent: not at all when there is little to do, longer the
// more packets leave. What one packet costs falls to a fifth when ten go to one receiver together; what waiting costs is
// heard. The measure is packets, not time used: it does not depend on what was chosen before.
type gatherer struct {
	longest time.Duration
	tick    time.Duration // chosen
	last    time.Duration // flush
	began   time.Duration // of the window
	packets uint64        // in the window
}

const (
	gatherWindow = 200 * time.Millisecond
	gatherSome   = 15_000 // packets a second from which 2 ms are gathered
	gatherMuch   = 40_000 // from which 5 ms are
)

// wait returns how long to wait before the next flush.
func (g *gatherer) wait(now time.Duration) time.Duration {
	if g.tick == 0 {
		return 0
	}
	return min(g.last+g.tick-now, g.tick)
}

// flushed notes what was sent and chooses anew now and then.
func (g *gatherer) flushed(now time.Duration, packets uint64) {
	g.last = now
	g.packets += packets
	elapsed := now - g.began
	if elapsed < gatherWindow {
		return
	}
	rate := g.packets * uint64(time.Second) / uint64(elapsed)
	g.began, g.packets = now, 0
	some, much := uint64(gatherSome), uint64(gatherMuch)
	// Who gathers already goes on until there is clearly less.
	if g.tick > 0 {
		some = some * 2 / 3
	}
	if g.tick > 2*time.Millisecond {
		much = much * 2 / 3
	}
	switch {
	case rate >= much:
		g.tick = 5 * time.Millisecond
	case rate >= some:
		g.tick = 2 * time.Millisecond
	default:
		g.tick = 0
	}
	g.tick = min(g.tick, g.longest)
}
