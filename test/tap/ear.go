package main

import (
	"bytes"
	"context"
	"net/netip"
	"sync"
	"time"

	"conclave/endpoint"
	"conclave/endpoint/media"
	"conclave/opus"
	"conclave/sframe"
	"conclave/sfu/slot"
	"conclave/signal"
)

// ear is the media path of one endpoint. It keeps every key that it is ever given, as a hostile client would.
type ear struct {
	mu        sync.Mutex // guards all below
	transport *media.Transport
	remote    media.Remote
	connect   context.CancelFunc
	keyring   *sframe.Keyring
	kept      []endpoint.EpochKeys
	leaves    [slot.Kinds][]int // who is in which slot
	streams   map[slot.Slot]*stream
	removed   *ear // an endpoint that is to open nothing after its last epoch; may be nil
	after     afterRemoval
}

// afterRemoval counts frames of epochs that began when the removed endpoint had gone.
type afterRemoval struct {
	Frames int `json:"frames"` // seen by the one that stayed
	Opened int `json:"opened"` // by any key that the removed one has
}

// stream is what came in one slot since the last report.
type stream struct {
	Kind    string `json:"kind"`
	Slot    int    `json:"slot"`
	Leaf    int    `json:"leaf"` // by the server's word; -1: none
	Name    string `json:"name"`
	Packets int    `json:"packets"`
	Frames  int    `json:"frames"`  // whole ones; a packet each for sound
	Clear   int    `json:"clear"`   // frames that are not SFrame
	Unknown int    `json:"unknown"` // SFrame of an epoch whose keys are not there yet
	Wrong   int    `json:"wrong"`   // SFrame that does not open, or names another leaf than the slot's
	Opened  int    `json:"opened"`
	Keys    int    `json:"key_frames"`
	MaxGap  int    `json:"max_gap_ms"` // between two opened frames
	// Tenths of a second in which a tone fills over half of what a decoder makes of the frames, as forwarded and as opened.
	SealedTone map[string]int `json:"sealed_tone"`
	OpenedTone map[string]int `json:"opened_tone"`
	// What the frames say if they are taken for Opus: how many decode at all.
	SealedDecodes int         `json:"sealed_decodes"`
	Sizes         map[int]int `json:"sizes"` // of payloads

	last      time.Time
	sealed    listener
	opened    listener
	assembler assembler
}

// listener decodes a stream and looks for tones.
type listener struct {
	decoder *opus.Decoder
	pcm     []int16
}

func newEar(removed *ear) *ear {
	return &ear{keyring: sframe.NewKeyring(), streams: map[slot.Slot]*stream{}, removed: removed}
}

// Offer implements endpoint.Media.
func (e *ear) Offer(_ context.Context, _ signal.SlotCounts, server signal.Server) (signal.Media, error) {
	t, err := media.New(media.Config{Microphone: true, Packet: e.packet})
	if err != nil {
		return signal.Media{}, err
	}
	remote := media.Remote{Ufrag: server.Ufrag, Password: server.Password, Fingerprint: [32]byte(server.Fingerprint)}
	for _, c := range server.Candidates {
		if a, err := netip.ParseAddrPort(c); err == nil {
			remote.Candidates = append(remote.Candidates, a)
		}
	}
	e.mu.Lock()
	old := e.transport
	e.transport, e.remote = t, remote
	e.mu.Unlock()
	if old != nil {
		old.Close()
	}
	local := t.Local()
	return signal.Media{Ufrag: local.Ufrag, Password: local.Password, Fingerprint: local.Fingerprint[:],
		SSRC: signal.Streams{Microphone: local.Microphone}, Opus: local.Opus, VP8: local.VP8}, nil
}

// Ready implements endpoint.Media.
func (e *ear) Ready() {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	e.connect = cancel
	go func(t *media.Transport, r media.Remote) {
		if err := t.Connect(ctx, r); err != nil {
			say("media", map[string]any{"error": err.Error()})
			return
		}
		say("media", map[string]any{"connected": true})
		// Video comes from its next key frame on: those who are in slots now are asked for one.
		time.Sleep(300 * time.Millisecond)
		for i := range slot.Default.Camera {
			t.RequestKeyFrame(slot.Slot{Kind: slot.Camera, Index: i})
		}
		t.RequestKeyFrame(slot.Slot{Kind: slot.Screen})
	}(e.transport, e.remote)
}

// Keys implements endpoint.Media.
func (e *ear) Keys(k endpoint.EpochKeys) {
	e.mu.Lock()
	defer e.mu.Unlock()
	members := make([]sframe.Leaf, len(k.Members))
	for i, m := range k.Members {
		members[i] = sframe.Leaf(m)
	}
	k.BaseKey = bytes.Clone(k.BaseKey)
	e.kept = append(e.kept, k)
	if err := e.keyring.Add(k.Epoch, k.BaseKey, members, time.Now()); err != nil {
		say("keys", map[string]any{"error": err.Error()})
	}
}

// Retire implements endpoint.Media. This client keeps what it has.
func (e *ear) Retire(uint64) {}

// Hold implements endpoint.Media: the tap only listens.
func (e *ear) Hold(bool) {}

// Bar implements endpoint.Media.
func (e *ear) Bar(uint32) {}

// Suspend implements endpoint.Media.
func (e *ear) Suspend() { e.Close() }

// Slots implements endpoint.Media.
func (e *ear) Slots(s signal.Slots) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaves = [slot.Kinds][]int{s.Audio, s.Camera, s.Screen}
}

// Close implements endpoint.Media.
func (e *ear) Close() {
	e.mu.Lock()
	t, cancel := e.transport, e.connect
	e.transport = nil
	e.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if t != nil {
		go t.Close()
	}
}

func (e *ear) leafIn(s slot.Slot) int {
	row := e.leaves[s.Kind-1]
	if s.Index >= len(row) {
		return -1
	}
	return row[s.Index]
}

// packet takes what the server forwarded.
func (e *ear) packet(p media.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.streams[p.Slot]
	if s == nil {
		s = newStream(p.Slot)
		e.streams[p.Slot] = s
	}
	s.Packets++
	s.Leaf = e.leafIn(p.Slot)
	if p.Slot.Kind.Video() {
		if frame := s.assembler.add(p); frame != nil {
			e.video(s, p.Slot.Kind, frame)
		}
		return
	}
	s.Sizes[len(p.Payload)]++
	if len(p.Payload) < 2 {
		s.Frames++
		s.Clear++
		return
	}
	sealed := p.Payload[:len(p.Payload)-1] // behind it: loudness
	s.Frames++
	// Twice taken for Opus: as it came, and with what SFrame puts in front left out.
	for _, guess := range [][]byte{p.Payload, sealed[min(len(sealed)-1, sframe.HeaderSize):]} {
		if s.sealed.hear(guess, s.SealedTone) {
			s.SealedDecodes++
		}
	}
	if plain := e.open(s, p.Slot.Kind, nil, sealed); plain != nil {
		s.opened.hear(plain, s.OpenedTone)
	}
}

func (e *ear) video(s *stream, kind slot.Kind, payload []byte) {
	s.Frames++
	prefix, sealed, key, ok := sframe.CutVideoPrefix(payload)
	if !ok {
		s.Clear++
		return
	}
	if key {
		s.Keys++
	}
	e.open(s, kind, prefix, sealed)
}

// open counts what becomes of a frame, and lets the removed endpoint try its keys on it.
func (e *ear) open(s *stream, kind slot.Kind, prefix, sealed []byte) []byte {
	h, size, err := sframe.ParseHeader(sealed)
	if err != nil || size != sframe.HeaderSize {
		s.Clear++
		return nil
	}
	plain, from, err := e.keyring.Open(nil, sframe.Kind(kind), prefix, sealed, time.Now())
	switch {
	case err == sframe.ErrUnknownEpoch:
		s.Unknown++
		return nil
	case err != nil || int(from.Leaf) != s.Leaf:
		s.Wrong++
		return nil
	}
	s.Opened++
	now := time.Now()
	if !s.last.IsZero() {
		s.MaxGap = max(s.MaxGap, int(now.Sub(s.last).Milliseconds()))
	}
	s.last = now
	if e.removed != nil {
		e.removed.try(&e.after, from.Epoch, append([]byte{byte(kind)}, prefix...), sealed, h, size)
	}
	return plain
}

// try takes a frame that another endpoint opened and tries every key that this one was ever given.
func (e *ear) try(count *afterRemoval, epoch uint64, metadata, sealed []byte, h sframe.Header, size int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.kept) == 0 || epoch <= e.kept[len(e.kept)-1].Epoch {
		return
	}
	count.Frames++
	for _, k := range e.kept {
		key, err := sframe.NewKey(sframe.RoomSuite, k.BaseKey, h.KID)
		if err != nil {
			continue
		}
		if _, err := key.Open(nil, metadata, sealed, h, size); err == nil {
			count.Opened++
		}
	}
}

func newStream(s slot.Slot) *stream {
	x := &stream{Kind: s.Kind.String(), Slot: s.Index, SealedTone: map[string]int{}, OpenedTone: map[string]int{}, Sizes: map[int]int{}}
	x.sealed.decoder, _ = opus.NewDecoder()
	x.opened.decoder, _ = opus.NewDecoder()
	return x
}

// hear decodes a frame and counts tones whenever a tenth of a second is full. It returns whether the frame decodes.
func (l *listener) hear(frame []byte, count map[string]int) bool {
	pcm, err := l.decoder.Decode(frame)
	if err != nil {
		return false
	}
	l.pcm = append(l.pcm, pcm...)
	const tenth = opus.SampleRate / 10
	for ; len(l.pcm) >= tenth; l.pcm = l.pcm[tenth:] {
		for name, hz := range tones {
			if share(l.pcm[:tenth], hz) > 0.5 {
				count[name]++
			}
		}
	}
	return true
}

// report returns the streams since the last report and begins anew.
func (e *ear) report(name func(leaf int) string) map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []*stream{}
	for at, s := range e.streams {
		s.Name = name(s.Leaf)
		list = append(list, s)
		fresh := newStream(at)
		fresh.last, fresh.sealed, fresh.opened, fresh.assembler = s.last, s.sealed, s.opened, s.assembler
		e.streams[at] = fresh
	}
	epoch := uint64(0)
	if len(e.kept) > 0 {
		epoch = e.kept[len(e.kept)-1].Epoch
	}
	after := e.after
	e.after = afterRemoval{}
	return map[string]any{"streams": list, "epoch": epoch, "after_removal": after}
}
