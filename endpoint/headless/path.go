package headless

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp/codecs"

	"conclave/endpoint"
	"conclave/endpoint/media"
	"conclave/sframe"
	"conclave/sfu/slot"
	"conclave/signal"
)

// path is the endpoint's Media: the transport to the server, and the frames on it.
type path struct {
	client *Client
	wait   sync.WaitGroup // connecting goroutines

	mu        sync.Mutex // guards all below
	transport *media.Transport
	remote    media.Remote
	ctx       context.Context // of the transport
	past      media.Stats     // of transports before
	ring      *sframe.Keyring
	senders   [slot.Kinds + 1]*sframe.Sender
	payloader codecs.VP8Payloader
	slots     signal.Slots
	odd       map[slot.Slot]time.Time // since when a slot's frames are another's than the server says
	held      []held
	pictures  map[slot.Slot]*picture
	heard     map[voice]int
	audible   map[int]audible // by audio slot: the room's heartbeat
	swept     time.Time
	buffer    []byte // for sealing
	plain     []byte // for opening
	closed    bool
	marking   *endpoint.Marking // what is heard is marked with; nil: nothing
	markers   map[uint32]*marker
	hold      bool // the room is paused
}

// voice is one stream of one member.
type voice struct {
	leaf uint32
	kind slot.Kind
}

// audible is whose sound opens in a slot, and when it last did.
type audible struct {
	leaf int
	at   time.Time
}

// quiet is how long a slot may rest before nobody is heard in it: sound comes 50 times a second.
const quiet = 2 * time.Second

func newPath(c *Client) *path {
	return &path{client: c, ring: sframe.NewKeyring(), payloader: codecs.VP8Payloader{EnablePictureID: true},
		pictures: make(map[slot.Slot]*picture), heard: make(map[voice]int), audible: make(map[int]audible), odd: make(map[slot.Slot]time.Time), markers: make(map[uint32]*marker)}
}

var errAddress = errors.New("headless: the server's media address cannot be read")

// Offer implements endpoint.Media.
func (p *path) Offer(ctx context.Context, _ signal.SlotCounts, server signal.Server) (signal.Media, error) {
	remote := media.Remote{Ufrag: server.Ufrag, Password: server.Password}
	if copy(remote.Fingerprint[:], server.Fingerprint) != len(remote.Fingerprint) {
		return signal.Media{}, errAddress
	}
	for _, c := range server.Candidates {
		if a, err := netip.ParseAddrPort(c); err == nil {
			remote.Candidates = append(remote.Candidates, a)
		}
	}
	if len(remote.Candidates) == 0 {
		return signal.Media{}, errAddress
	}
	t, err := media.New(media.Config{Microphone: true, Camera: p.client.cfg.Video != nil,
		Certificate: p.client.cfg.Certificate, Packet: p.receive})
	if err != nil {
		return signal.Media{}, err
	}
	p.mu.Lock()
	old := p.transport
	if p.closed {
		old = t
	} else {
		p.transport, p.remote, p.ctx = t, remote, ctx
		clear(p.pictures)
	}
	p.mu.Unlock()
	if old != nil {
		p.end(old)
	}
	l := t.Local()
	return signal.Media{Ufrag: l.Ufrag, Password: l.Password, Fingerprint: l.Fingerprint[:], Opus: l.Opus, VP8: l.VP8,
		SSRC: signal.Streams{Microphone: l.Microphone, Camera: l.Camera, Screen: l.Screen}}, nil
}

// end closes a transport and keeps its counts. It must not be called under mu: a packet may be on its way in.
func (p *path) end(t *media.Transport) {
	t.Close()
	s := t.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past.Sent += s.Sent
	p.past.Received += s.Received
	p.past.Lost += s.Lost
	p.past.Bad += s.Bad
}

func (p *path) stats() media.Stats {
	p.mu.Lock()
	s, t := p.past, p.transport
	p.mu.Unlock()
	if t != nil {
		n := t.Stats()
		s.Sent, s.Received, s.Lost, s.Bad, s.RTT = s.Sent+n.Sent, s.Received+n.Received, s.Lost+n.Lost, s.Bad+n.Bad, n.RTT
	}
	return s
}

// connectLimit is how long a path may take; a good one takes a tenth of a second.
const connectLimit = 5 * time.Second

// Ready implements endpoint.Media.
func (p *path) Ready() {
	p.mu.Lock()
	t, remote, ctx := p.transport, p.remote, p.ctx
	p.mu.Unlock()
	if t == nil {
		return
	}
	p.wait.Go(func() {
		limited, cancel := context.WithTimeout(ctx, connectLimit)
		defer cancel()
		err := t.Connect(limited, remote)
		if err == nil {
			<-t.Done()
			err = t.Err()
		}
		if !errors.Is(err, media.ErrClosed) && ctx.Err() == nil {
			_ = p.client.Restart() // a path that broke by itself
		}
	})
}

// Keys implements endpoint.Media.
func (p *path) Keys(k endpoint.EpochKeys) {
	defer clear(k.BaseKey)
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.First {
		p.wipe()
		p.ring = sframe.NewKeyring()
	}
	members := make([]sframe.Leaf, len(k.Members))
	for i, m := range k.Members {
		members[i] = sframe.Leaf(m)
	}
	if err := p.ring.Add(k.Epoch, k.BaseKey, members, time.Now()); err != nil {
		return // cannot be: epochs rise
	}
	p.enter(slot.Microphone, k)
	if p.client.cfg.Video != nil {
		p.enter(slot.Camera, k)
	}
	late := p.held
	p.held = nil
	for _, h := range late {
		if time.Since(h.at) < holdFor {
			p.open(h.slot, h.timestamp, h.prefix, h.sealed, h.keyFrame, h.at)
		}
	}
}

// enter takes a stream into the epoch, or starts it.
func (p *path) enter(kind slot.Kind, k endpoint.EpochKeys) {
	if s := p.senders[kind]; s != nil {
		if s.Enter(k.BaseKey, k.Epoch) != nil {
			s.Wipe()
			p.senders[kind] = nil
		}
		return
	}
	id, ok := p.client.Context(streamOf(kind))
	if !ok {
		return // the epoch after this one has one
	}
	s, err := sframe.NewSender(k.BaseKey, k.Epoch, sframe.Leaf(k.Leaf), sframe.Context(id), kindOf(kind))
	if err == nil {
		p.senders[kind] = s
	}
}

// Retire implements endpoint.Media.
func (p *path) Retire(epoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ring.Retire(epoch)
}

// Slots implements endpoint.Media.
func (p *path) Slots(s signal.Slots) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots = s
}

// Bar implements endpoint.Media.
func (p *path) Bar(leaf uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ring.Bar(sframe.Leaf(leaf))
}

// Hold implements endpoint.Media.
func (p *path) Hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = on
}

// Suspend implements endpoint.Media.
func (p *path) Suspend() {
	p.mu.Lock()
	t := p.transport
	p.transport = nil
	p.wipe()
	p.ring = sframe.NewKeyring()
	clear(p.audible)
	p.mu.Unlock()
	if t != nil {
		p.end(t)
	}
}

// Close implements endpoint.Media.
func (p *path) Close() {
	p.mu.Lock()
	p.closed = true
	t := p.transport
	p.transport = nil
	p.wipe()
	p.dropMarkers()
	p.mu.Unlock()
	if t != nil {
		p.end(t)
	}
}

// wipe forgets all keys. mu is held.
func (p *path) wipe() {
	p.ring.Wipe()
	for i, s := range p.senders {
		if s != nil {
			s.Wipe()
			p.senders[i] = nil
		}
	}
	p.held = nil
}

// sendSound seals and sends one Opus packet. Behind the sealed frame goes a byte of loudness, told in crowded rooms alone.
func (p *path) sendSound(packet []byte, timestamp uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep()
	s := p.senders[slot.Microphone]
	if s == nil || p.transport == nil || p.hold {
		return
	}
	sealed, err := s.Seal(p.buffer[:0], nil, packet)
	if err != nil {
		return
	}
	loudness := uint8(0)
	if l, ok := p.client.cfg.Sound.(Loud); ok && p.slots.Crowded && !p.client.silent() {
		loudness = l.Loudness() & 127
	}
	p.buffer = append(sealed, loudness)
	_ = p.transport.Send(slot.Microphone, p.buffer, timestamp, false) // a path that ended says so itself
}

// sendVideo seals a frame, then cuts it into packets (RFC 7741).
func (p *path) sendVideo(frame []byte, keyFrame bool, timestamp uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.senders[slot.Camera]
	if s == nil || p.transport == nil || p.hold {
		return
	}
	sealed, err := s.Seal(p.buffer[:0], sframe.VideoPrefix(keyFrame), frame)
	if err != nil {
		return
	}
	p.buffer = sealed
	packets := p.payloader.Payload(media.MaxPayload, sealed)
	for i, b := range packets {
		_ = p.transport.Send(slot.Camera, b, timestamp, i == len(packets)-1)
	}
}

// receive takes a packet of a slot; it runs on the transport's goroutine.
func (p *path) receive(k media.Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if !k.Slot.Kind.Video() {
		if len(k.Payload) > 1 {
			p.open(k.Slot, k.Timestamp, nil, k.Payload[:len(k.Payload)-1], false, time.Now())
		}
		return
	}
	pic := p.pictures[k.Slot]
	if pic == nil {
		pic = new(picture)
		p.pictures[k.Slot] = pic
	}
	whole, again := pic.take(k)
	if again && p.transport != nil {
		p.transport.RequestKeyFrame(k.Slot)
	}
	if whole == nil {
		return
	}
	if prefix, sealed, keyFrame, ok := sframe.CutVideoPrefix(whole); ok {
		p.open(k.Slot, k.Timestamp, prefix, sealed, keyFrame, time.Now())
	} else {
		p.stranger(k.Slot.Kind, -1)
	}
}

// open opens a frame and hands it on. at is when it came. mu is held.
func (p *path) open(at slot.Slot, timestamp uint32, prefix, sealed []byte, keyFrame bool, came time.Time) {
	out, from, err := p.ring.Open(p.plain[:0], kindOf(at.Kind), prefix, sealed, time.Now())
	switch {
	case err == nil:
	case errors.Is(err, sframe.ErrUnknownEpoch):
		if len(p.held) == maxHeld {
			p.held = p.held[1:]
		}
		p.held = append(p.held, held{at, timestamp, bytes.Clone(prefix), bytes.Clone(sealed), keyFrame, came})
		return
	case errors.Is(err, sframe.ErrReplay):
		return
	case errors.Is(err, sframe.ErrHeader):
		p.stranger(at.Kind, -1)
		return
	default:
		p.stranger(at.Kind, int(from.Leaf))
		return
	}
	p.plain = out
	// However often the server says anew who is in a slot: what counts is how long its frames have been another's.
	if p.owner(at) == int(from.Leaf) {
		delete(p.odd, at)
	} else if since, known := p.odd[at]; !known {
		p.odd[at] = time.Now()
	} else if time.Since(since) > settled {
		p.stranger(at.Kind, int(from.Leaf))
		return
	}
	if at.Kind == slot.Microphone {
		p.listen(at.Index, int(from.Leaf))
	}
	v := voice{uint32(from.Leaf), at.Kind}
	p.heard[v]++
	if p.heard[v] == 1 {
		p.tell(v, 1)
	}
	if p.client.cfg.Heard == nil {
		return
	}
	if out = p.handed(v, out, timestamp); out != nil {
		p.client.cfg.Heard(Frame{Leaf: v.leaf, Kind: v.kind, Data: out, Timestamp: timestamp, KeyFrame: keyFrame,
			Epoch: from.Epoch, Context: uint32(from.Context), Counter: from.Counter})
	}
}

// listen notes whose sound opened in a slot, and tells the endpoint of a change. mu is held.
func (p *path) listen(at, leaf int) {
	now := time.Now()
	if a, ok := p.audible[at]; !ok || a.leaf != leaf {
		_ = p.client.Opened(endpoint.Microphone, at, leaf)
	}
	p.audible[at] = audible{leaf, now}
}

// sweep tells the endpoint of slots in which nobody is heard any more. It is called with each packet that is sent, and
// looks once a second. mu is held.
func (p *path) sweep() {
	now := time.Now()
	if now.Sub(p.swept) < time.Second {
		return
	}
	p.swept = now
	for at, a := range p.audible {
		if now.Sub(a.at) > quiet {
			delete(p.audible, at)
			_ = p.client.Opened(endpoint.Microphone, at, -1)
		}
	}
}

// owner returns the leaf that the server says is in a slot, -1 for none.
func (p *path) owner(s slot.Slot) int {
	list := p.slots.Audio
	switch s.Kind {
	case slot.Camera:
		list = p.slots.Camera
	case slot.Screen:
		list = p.slots.Screen
	}
	if s.Index >= len(list) {
		return -1
	}
	return list[s.Index]
}

func (p *path) stranger(kind slot.Kind, leaf int) { _ = p.client.Stranger(streamOf(kind), leaf) }

func (p *path) tell(v voice, frames int) {
	p.client.cfg.Endpoint.Emit(endpoint.Event{Kind: "heard", At: time.Now(),
		Heard: &endpoint.HeardEvent{Leaf: v.leaf, Stream: v.kind.String(), Frames: frames}})
}

// summary tells how many frames of each stream were opened.
func (p *path) summary() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []voice
	for v := range p.heard {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b voice) int { return int(a.leaf)*4 + int(a.kind) - int(b.leaf)*4 - int(b.kind) })
	for _, v := range all {
		p.tell(v, p.heard[v])
	}
}
