package gateway

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/headless"
	"conclave/opus"
	"conclave/phone/call"
	"conclave/phone/dsp"
	"conclave/phone/jitter"
	"conclave/sfu/slot"
	"conclave/signal"
	"conclave/watermark"
)

// bridge is the room's side of a leg: an endpoint of its own, which opens what the others say and seals what the caller says.
// Its sound is driven by the endpoint's own pace: each time a packet is due to the room, a frame of the room is due to the
// caller.
type bridge struct {
	leg    *leg
	client *headless.Client
	cancel context.CancelFunc
	done   chan struct{}
	hall   *hall

	mu      sync.Mutex // guards all below
	opened  bool
	primed  bool // frames of the caller are taken one by one
	slack   slack
	paused  bool
	muted   bool // by the chair, until the caller wants to be heard again
	encoder *opus.Encoder
	packet  []byte
	loud    uint8 // of packet
	level   dsp.Leveller
	toRoom  dsp.Mixer
	toCall  dsp.Mixer
	saying  []dsp.Source // what the room is told of the leg
	voices  map[uint32]*voice
	sound   dsp.Frame // of one voice
	framed  []byte    // a frame on its way into a voice's buffer
	closed  bool

	marking  *endpoint.Marking   // nil: the organisation wants no mark
	embedder *watermark.Embedder // nil: to be made for the next frame
	pcm      [dsp.FrameSamples]float32
}

// voice is one member who is heard.
type voice struct {
	buffer  *jitter.Buffer
	conceal dsp.Concealer
	last    time.Time
}

const (
	// maxVoices is more than a room's receiving slots; a member who sends nothing for voiceTime has none.
	maxVoices = 32
	voiceTime = 2 * time.Second
	// leaveTime is what a leg may take to say goodbye; its keys are wiped at its end in any case.
	leaveTime = 1500 * time.Millisecond
	// The call's clock and the room's are two: ahead is how many of the caller's frames wait before the first is taken, so that
	// neither a late one nor two at once are heard. More than that are left out once they prove not to be needed (slack), and
	// more than maxBehind at once.
	ahead     = 2
	maxBehind = 5
	// sampleStep is a packet's span on the clock of Opus.
	sampleStep = opus.FrameSamples
)

func newBridge(l *leg, statement []byte, meeting conclave.MeetingID) (*bridge, error) {
	g := &l.gateway.config
	dial, host, err := endpoint.Dial(g.Server, g.TLS)
	if err != nil {
		return nil, err
	}
	b := &bridge{leg: l, done: make(chan struct{}), voices: map[uint32]*voice{}}
	if b.encoder, err = opus.NewEncoder(opus.Config{Transform: true}); err != nil {
		return nil, err
	}
	b.client, err = headless.New(headless.Config{
		Endpoint: endpoint.Config{
			Dial: dial, Host: host, Identity: endpoint.Identity{Statement: statement, Signer: l.signer}, Organisation: g.Key.Organisation,
			Root: g.Key.Root, Meeting: meeting, Client: signal.Client{Kind: "phone", Name: "conclave-phone", Version: "1"},
			Now: g.Now, Rand: g.Rand, Emit: b.event,
		},
		Sound: b, Heard: b.heard, Marked: b.marked,
		Muted: func() { b.leg.tell(call.Room{What: call.RoomMuted}) },
	})
	if err != nil {
		b.encoder.Close()
		return nil, err
	}
	b.hall = l.gateway.enter(meeting)
	return b, nil
}

// run starts the endpoint.
func (b *bridge) run(ctx context.Context) {
	inner, cancel := context.WithCancel(ctx)
	b.cancel = cancel
	go func() {
		defer close(b.done)
		err := b.client.Run(inner)
		var p conclave.Problem
		switch {
		case errors.As(err, &p):
			b.leg.tell(call.Room{What: roomEvent(p)})
		case err != nil && inner.Err() == nil:
			b.leg.tell(call.Room{What: call.RoomFailed})
		}
	}()
}

// leave says goodbye and waits until the endpoint has wiped its keys.
func (b *bridge) leave() {
	_ = b.client.Leave()
	timer := time.NewTimer(leaveTime)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
		b.cancel()
		<-b.done
	}
	b.cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.opened = true, false
	clear(b.voices)
	b.encoder.Close()
	b.leg.gateway.leave(b.hall)
}

// event takes what the endpoint tells; it runs on the endpoint's goroutine.
func (b *bridge) event(e endpoint.Event) {
	switch {
	case e.State != nil:
		b.state(e.State)
	case e.Roster != nil:
		b.mu.Lock()
		paused := e.Roster.Paused != nil
		changed := paused != b.paused
		b.paused = paused
		b.mu.Unlock()
		if !changed {
			return
		}
		if paused {
			b.leg.tell(call.Room{What: call.RoomPaused})
		} else {
			b.leg.tell(call.Room{What: call.RoomResumed})
		}
	}
}

func (b *bridge) state(s *endpoint.StateEvent) {
	tell := func(what call.RoomEvent) { b.leg.tell(call.Room{What: what}) }
	switch s.State {
	case endpoint.StateChecked:
		_ = b.client.Join([]conclave.Fact{{Name: "codec", Value: b.leg.media.Codec().Name()}})
	case endpoint.StateWaiting:
		tell(call.RoomWaiting)
	case endpoint.StateIn:
		tell(call.RoomIn)
	case endpoint.StateReconnecting:
		tell(call.RoomAway)
	case endpoint.StateQuarantined:
		// A phone's line does not get better: the leg goes, and the person is told the way back.
		what := call.RoomRaised
		if len(s.Reasons) > 0 {
			if w := roomEvent(s.Reasons[0]); w != call.RoomFailed {
				what = w
			}
		}
		tell(what)
	case endpoint.StateRefused:
		what := call.RoomRefused
		if slices.ContainsFunc(s.Reasons, func(p conclave.Problem) bool { return p.Code == "door_declined" || p.Code == "door_closed" }) {
			what = call.RoomDeclined
		} else if slices.ContainsFunc(s.Reasons, func(p conclave.Problem) bool { return p.Code == "meeting_over" }) {
			what = call.RoomOver
		}
		tell(what)
	}
}

// open opens or shuts the way between caller and room.
func (b *bridge) open(open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = open && !b.closed
	b.embedder = nil // time passes while nothing is marked
	if !b.opened {
		clear(b.voices) // nothing that was said meanwhile is heard later
	}
}

// mute has the room not hear the caller, or hear them again. What the gateway itself says of the leg is heard in any case.
func (b *bridge) mute(on bool) {
	b.mu.Lock()
	b.muted = on
	b.mu.Unlock()
	_ = b.client.SetState(signal.State{Muted: on})
}

// announce has the room hear something in the leg's voice, behind what it hears already.
func (b *bridge) announce(s dsp.Source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.saying) < 4 {
		b.saying = append(b.saying, s)
	}
}

// Next implements headless.Sound: it is called every 20 ms, on the endpoint's speaking goroutine.
func (b *bridge) Next() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.speakToCall(time.Now())
	if heard := b.fromCall(); heard != nil && b.opened && !b.muted {
		b.level.Level(heard)
		b.toRoom.Add(heard)
	}
	var f dsp.Frame
	for len(b.saying) > 0 {
		if b.saying[0].Next(&f) {
			b.toRoom.Add(&f)
			break
		}
		b.saying = b.saying[1:]
	}
	b.toRoom.Mix(&f)
	b.loud = loudness(&f)
	packet, err := b.encoder.Encode(b.packet[:0], f[:])
	if err != nil {
		return nil // sealed silence
	}
	b.packet = packet
	return packet
}

// fromCall returns the caller's next frame, nil if there is none; mu is held.
func (b *bridge) fromCall() *dsp.Frame {
	in := b.leg.media.In()
	if len(in) > maxBehind {
		for len(in) > ahead {
			<-in
		}
	}
	if !b.primed && len(in) < ahead {
		return nil
	}
	select {
	case f := <-in:
		b.primed = true
		if b.slack.take(len(in), loudness(f) < quietFrame) {
			select {
			case f = <-in:
			default: // a full queue was emptied meanwhile
			}
		}
		return f
	default:
		if b.primed {
			b.slack.ranDry()
		}
		b.primed = false
		return nil
	}
}

// Loudness implements headless.Loud.
func (b *bridge) Loudness() uint8 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loud
}

// loudness is 127 + dBov of a frame, 0 where it is silent (RFC 6464, Section 3, the other way round).
func loudness(f *dsp.Frame) uint8 {
	sum := 0.0
	for _, v := range f {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return 0
	}
	return uint8(min(max(127+10*math.Log10(sum/dsp.FrameSamples/(32768*32768)), 0), 127))
}

// speakToCall mixes what the members say and hands it to the caller; mu is held. The server does not send a leg its own
// sound, so that the sum is without the caller.
func (b *bridge) speakToCall(now time.Time) {
	if !b.opened {
		return
	}
	if f := b.mix(now); f != nil {
		b.leg.media.Out(f)
	}
}

// mix is the room's next frame for the caller, marked; nil: it cannot be marked, and is not to be heard. mu is held.
func (b *bridge) mix(now time.Time) *dsp.Frame {
	for leaf, v := range b.voices {
		if now.Sub(v.last) > voiceTime {
			delete(b.voices, leaf)
			continue
		}
		payload, verdict := v.buffer.Pop(now)
		switch verdict {
		case jitter.Packet:
			if !b.hall.decode(leaf, payload, &b.sound) {
				b.toCall.Add(v.conceal.Conceal())
				continue
			}
			v.conceal.Good(b.sound[:])
			b.toCall.Add(&b.sound)
			if v.buffer.Advice() == jitter.Skip { // sound waits longer than it must
				v.buffer.Followed()
				_, _ = v.buffer.Pop(now)
			}
		case jitter.Missing:
			b.toCall.Add(v.conceal.Conceal())
		}
	}
	f := new(dsp.Frame)
	b.toCall.Mix(f)
	if b.marking == nil {
		return f
	}
	if b.embedder == nil {
		begin := max(0, int(b.leg.gateway.config.Now().Sub(b.marking.Began).Milliseconds())*(dsp.Rate/1000))
		var err error
		if b.embedder, err = watermark.NewEmbedder(dsp.Rate, 1, begin, b.marking.Sync, b.marking.Code); err != nil {
			return nil
		}
	}
	for i, x := range f {
		b.pcm[i] = float32(x) / 32768
	}
	b.embedder.Process(b.pcm[:])
	for i, x := range b.pcm {
		f[i] = int16(max(-32768, min(32767, x*32768)))
	}
	return f
}

// marked takes what this leg marks with from now on. All that the caller hears is marked once, behind the buffers, so that
// neither loss nor delay on the room's side moves the mark.
func (b *bridge) marked(m *endpoint.Marking) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marking, b.embedder = m, nil
}

// heard takes an opened frame; it runs on the transport's goroutine and must return at once.
func (b *bridge) heard(f headless.Frame) {
	if f.Kind != slot.Microphone {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.opened {
		return
	}
	v := b.voices[f.Leaf]
	if v == nil {
		if len(b.voices) >= maxVoices {
			return
		}
		v = &voice{buffer: jitter.New(opus.SampleRate)}
		b.voices[f.Leaf] = v
	}
	v.last = time.Now()
	// The sender's numbers end at the server; its clock runs by a packet at a time.
	b.framed = appendFrame(b.framed[:0], &f)
	v.buffer.Put(v.last, uint16(f.Timestamp/sampleStep), f.Timestamp, false, b.framed)
}
