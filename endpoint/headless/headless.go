// Package headless is an endpoint without a face: the endpoint core joined to native media. It plays sound and video that
// are encoded already, opens what it hears, and hands the frames to its owner. `conclave join`, the load generator and the
// end-to-end tests are made of it.
//
// It sends at one rate and in one size whether there is something to play or not: where there is nothing, sealed silence.
package headless

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"conclave/endpoint"
	"conclave/endpoint/media"
	"conclave/opus"
	"conclave/sframe"
	"conclave/sfu/slot"
	"conclave/signal"
)

// Frame is an opened frame of a member. Data is valid during the call only.
type Frame struct {
	Leaf      uint32
	Kind      slot.Kind
	Data      []byte // an Opus packet or a VP8 frame
	Timestamp uint32 // RTP, of the slot
	KeyFrame  bool
	// Epoch, Context and Counter name the frame among all of its leaf's: they are authentic, and the same for whoever opens it.
	Epoch            uint64
	Context, Counter uint32
}

// Sound is what a client says: one Opus packet of opus.FrameBytes every 20 ms; nil is silence. The packet is not kept.
type Sound interface{ Next() []byte }

// Loud is a Sound that can tell how loud the packet is that Next returned last: 0 to 127, 127 + dBov. It is asked, and the
// server told, only where there are more microphones than slots: who does not tell gets a slot there only while one is free.
type Loud interface{ Loudness() uint8 }

// Video is what a client shows.
type Video interface {
	// Next returns the next VP8 frame and how long it is shown; nil: nothing for so long. The frame is not kept.
	Next() (frame []byte, keyFrame bool, shown time.Duration)
}

// Config is what a Client needs.
type Config struct {
	// Endpoint is the core's configuration. Media is set here. Emit is called from several goroutines.
	Endpoint endpoint.Config
	Sound    Sound
	Video    Video
	// Heard takes opened frames; nil: they are only counted. It must return at once.
	Heard func(Frame)
	// Marked takes what this leg marks with all that it plays, nil for nothing, where the owner marks by itself; it must
	// return at once. nil: what Heard takes is marked already.
	Marked func(*endpoint.Marking)
	// Muted is told that the chair has muted all, where the owner mutes by itself, and says so (SetState); it must return at
	// once. nil: silence is sent until SetState says otherwise.
	Muted func()
	// Certificate is for the media path; nil: a fresh one for each.
	Certificate *tls.Certificate
}

// Client is a headless endpoint.
type Client struct {
	*endpoint.Endpoint
	cfg   Config
	path  *path
	shown atomic.Pointer[signal.State] // by SetState, or the chair
	// Of the endpoint's goroutine: it has seen a room, and when all were muted last.
	seen   bool
	hushed time.Time
}

// New returns a Client, which does nothing until Run.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg}
	c.path = newPath(c)
	cfg.Endpoint.Media = c.path
	emit := cfg.Endpoint.Emit
	cfg.Endpoint.Emit = func(e endpoint.Event) {
		if e.Roster != nil {
			c.obey(e.Roster.Hushed)
		}
		emit(e)
	}
	e, err := endpoint.New(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	c.Endpoint = e
	return c, nil
}

// Run follows the meeting until it is over for this leg, as endpoint.Run does, and tells at the end how many frames of
// each member were opened.
func (c *Client) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { c.speak(inner) })
	if c.cfg.Video != nil {
		wait.Go(func() { c.show(inner) })
	}
	err := c.Endpoint.Run(ctx)
	cancel()
	wait.Wait()
	c.path.wait.Wait()
	c.path.summary()
	return err
}

// SetState says what the leg shows of itself. One that shows itself muted is: it sends silence, sealed and at the same rate.
func (c *Client) SetState(state signal.State) error {
	c.shown.Store(&state)
	return c.Endpoint.SetState(state)
}

// Command is endpoint.Command, for a leg with sound of its own.
func (c *Client) Command(name string, body []byte) error {
	var state signal.State
	if name == "state" && json.Unmarshal(body, &state) == nil {
		return c.SetState(state)
	}
	return c.Endpoint.Command(name, body)
}

// obey mutes the leg where the chair has muted all, once for each time. What was before the leg came is not meant for it.
func (c *Client) obey(h *endpoint.ChairAct) {
	before, seen := c.hushed, c.seen
	c.seen = true
	if h == nil {
		return
	}
	c.hushed = h.Since
	switch {
	case !seen || h.Mine || h.Since.Equal(before):
	case c.cfg.Muted != nil:
		c.cfg.Muted()
	default:
		muted := signal.State{Muted: true}
		if s := c.shown.Load(); s != nil {
			muted.Camera, muted.Screen, muted.Hand = s.Camera, s.Screen, s.Hand
		}
		_ = c.SetState(muted)
	}
}

// silent says whether the leg sends silence whatever its Sound says.
func (c *Client) silent() bool { return c.cfg.Muted == nil && c.muted() }

func (c *Client) muted() bool {
	s := c.shown.Load()
	return s != nil && s.Muted
}

// Stats are the counts of all media paths that the client has had.
func (c *Client) Stats() media.Stats { return c.path.stats() }

// packetTime is the pace of sound.
const packetTime = 20 * time.Millisecond

// speak sends a packet of sound every 20 ms.
func (c *Client) speak(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	ledger := voiceLedger{spoke: c.Spoke}
	for n := uint32(0); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var packet []byte
		if c.cfg.Sound != nil {
			packet = c.cfg.Sound.Next()
		}
		sound, knows := c.cfg.Sound.(loud)
		ledger.packet(packet != nil && !c.muted() && (!knows || sound.Loud()), time.Now())
		if packet == nil || c.silent() {
			packet = silence
		}
		c.path.sendSound(packet, n*opus.FrameSamples)
		next = next.Add(packetTime)
		if late := time.Since(next); late > 10*packetTime {
			next = time.Now() // the machine slept: do not make up for it in a burst
		}
		timer.Reset(time.Until(next))
	}
}

// show sends frames of video at their pace.
func (c *Client) show(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next, began := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		frame, keyFrame, shown := c.cfg.Video.Next()
		if frame != nil {
			c.path.sendVideo(frame, keyFrame, uint32(next.Sub(began)*90000/time.Second))
		}
		next = next.Add(max(shown, time.Millisecond))
		if time.Since(next) > time.Second {
			next = time.Now()
		}
		timer.Reset(time.Until(next))
	}
}

// held is a frame of an epoch that is not known yet.
type held struct {
	slot      slot.Slot
	timestamp uint32
	prefix    []byte
	sealed    []byte
	keyFrame  bool
	at        time.Time
}

const (
	// holdFor is how long media may be ahead of the commit that brings its key.
	holdFor = 500 * time.Millisecond
	// maxHeld bounds what is held: 16 voices for holdFor. Beyond it the oldest is dropped.
	maxHeld = 512
	// settled is how long frames of another leaf may come in a slot before that is no accident of timing.
	settled = 2 * time.Second
)

func streamOf(k slot.Kind) endpoint.Stream { return endpoint.Stream(k) }
func kindOf(k slot.Kind) sframe.Kind       { return sframe.Kind(k) }
