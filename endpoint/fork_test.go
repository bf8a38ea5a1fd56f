package endpoint

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"conclave/mls"
	"conclave/sframe"
	"conclave/signal"
)

const (
	// frameEvery is the time between two frames of a voice: five times that of the real ones, which proves the same.
	frameEvery = 100 * time.Millisecond
	// restful is how long a slot rests before a media owner says that nobody is heard in it (headless, frames worker).
	restful = 2 * time.Second
)

// voice is a client whose media owner seals and opens frames with a sender and a keyring of its own.
type voice struct {
	*client

	mu     sync.Mutex // guards all below
	ring   *sframe.Keyring
	sender *sframe.Sender
	leaf   uint32
	opened map[string]int       // frames by who sent them
	last   map[uint32]time.Time // when a leaf's last frame opened
}

// voice brings a device in with a voice.
func (h *house) voice(d *device) *voice {
	h.t.Helper()
	v := &voice{ring: sframe.NewKeyring(), opened: map[string]int{}, last: map[uint32]time.Time{}}
	c := h.client(d, func(cfg *Config) {
		v.client = cfg.Media.(*client)
		cfg.Media = v
	})
	c.await("in", isState(StateIn))
	return v
}

func (v *voice) Keys(k EpochKeys) {
	id, fresh := v.Context(Microphone)
	v.mu.Lock()
	defer v.mu.Unlock()
	members := make([]sframe.Leaf, len(k.Members))
	for i, m := range k.Members {
		members[i] = sframe.Leaf(m)
	}
	err := v.ring.Add(k.Epoch, k.BaseKey, members, time.Now())
	switch {
	case err != nil:
	case v.sender != nil:
		err = v.sender.Enter(k.BaseKey, k.Epoch)
	case !fresh:
		err = errors.New("no context")
	default:
		v.sender, err = sframe.NewSender(k.BaseKey, k.Epoch, sframe.Leaf(k.Leaf), sframe.Context(id), sframe.Microphone)
	}
	if err != nil {
		v.t.Error(err)
	}
	v.leaf = k.Leaf
	v.client.Keys(k)
}

func (v *voice) Retire(epoch uint64) {
	v.mu.Lock()
	v.ring.Retire(epoch)
	v.mu.Unlock()
	v.client.Retire(epoch)
}

// say seals one frame of silence.
func (v *voice) say() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sender == nil {
		return nil
	}
	sealed, err := v.sender.Seal(nil, nil, make([]byte, 80))
	if err != nil {
		v.t.Error(err)
	}
	return sealed
}

// take opens a frame, and tells the endpoint who is heard in a slot where that changes. A slot is as far as the server goes.
func (v *voice) take(slot int, from string, sealed []byte) {
	v.mu.Lock()
	_, by, err := v.ring.Open(nil, sframe.Microphone, nil, sealed, time.Now())
	tell, leaf := false, uint32(by.Leaf)
	if err == nil {
		v.opened[from]++
		_, heard := v.last[leaf]
		tell, v.last[leaf] = !heard, time.Now()
	}
	v.mu.Unlock()
	if tell {
		v.Opened(Microphone, slot, int(leaf))
	}
}

// rest tells the endpoint of slots in which nobody is heard any more.
func (v *voice) rest() {
	var quiet []uint32
	v.mu.Lock()
	for leaf, at := range v.last {
		if time.Since(at) > restful {
			quiet = append(quiet, leaf)
			delete(v.last, leaf)
		}
	}
	v.mu.Unlock()
	for _, leaf := range quiet {
		v.Opened(Microphone, int(leaf), -1)
	}
}

// forward has everybody's frames reach everybody else, as long as until goes on; slots have the numbers of leaves.
func forward(until chan struct{}, voices ...*voice) {
	for {
		for _, from := range voices {
			sealed := from.say()
			for _, to := range voices {
				if to != from && sealed != nil {
					to.take(int(from.leaf), from.device.name, sealed)
				}
			}
		}
		for _, v := range voices {
			v.rest()
		}
		select {
		case <-until:
			return
		case <-time.After(frameEvery):
		}
	}
}

// fork is a server that orders two commits of one epoch, each for one side of the room, and forwards all sound.
type fork struct {
	*house
	side    map[*device]int
	state   [2]*mls.Follower // nil until the side has a commit of its own
	commits [2][]byte
}

// split takes a commit in the place of the house. h.mu is held.
func (f *fork) split(l *leg, m *signal.Commit) {
	at := f.side[l.device]
	if f.state[at] == nil {
		f.state[at] = f.follower.Clone()
	}
	if m.Epoch != uint64(f.state[at].Epoch()) {
		l.conn.say(&signal.Stale{Epoch: uint64(f.state[at].Epoch())})
		return
	}
	if _, err := f.state[at].Process(m.Message, time.Now()); err != nil {
		f.t.Errorf("side %d was handed what is no valid commit: %v", at, err)
		return
	}
	f.commits[at] = m.Message
	for _, other := range f.legs {
		if other.member && other.conn != nil && f.side[other.device] == at {
			other.conn.say(&signal.Commit{Epoch: m.Epoch, Message: m.Message})
		}
	}
	for _, other := range f.legs {
		if _, ok := f.side[other.device]; !ok {
			f.drop(other, "removed")
		}
	}
	f.tellRoster()
}

// A server has somebody removed, orders one member's commit for two of the room, and that of another, who did not get to see
// the first, for the other two: each is valid, all lists and slots agree. Nobody opens a frame of the other side any more, both
// sides are alarmed in time, by name, and have other codes.
func TestAForkThatTwoFollowersServeIsFoundByTheSoundOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var voices []*voice
		for _, name := range []string{"anna", "jan", "karin", "lena", "otto"} {
			voices = append(voices, h.voice(h.device(h.org, name)))
		}
		sides := [2][]*voice{{voices[0], voices[2]}, {voices[1], voices[3]}}
		until := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { forward(until, voices...) })
		alike(t, voices[0].client, voices[1].client, voices[2].client, voices[3].client, voices[4].client)
		time.Sleep(2 * unheardAll)
		for _, v := range voices {
			if a := alarms(v.client); len(a) != 0 {
				t.Fatalf("%s was alarmed before the fork: %v", v.device.name, a)
			}
		}
		f := &fork{house: h, side: map[*device]int{}}
		for at, side := range sides {
			for _, v := range side {
				f.side[v.device] = at
			}
		}
		began := time.Now()
		h.locked(func() {
			h.lie.fork = f.split
			h.remove(h.legOf(voices[4].device))
		})
		time.Sleep(2 * time.Second) // by then each side has its commit
		h.locked(func() {
			a, b := f.state[0], f.state[1]
			if a == nil || b == nil || a.Epoch() != b.Epoch() || slices.Equal(f.commits[0], f.commits[1]) {
				t.Fatal("the server has not ordered two commits of one epoch")
			}
			if slices.Equal(a.Context().ConfirmedTranscriptHash, b.Context().ConfirmedTranscriptHash) {
				t.Fatal("both sides have one history")
			}
		})
		for _, v := range voices {
			v.mu.Lock()
			clear(v.opened)
			v.mu.Unlock()
		}
		// Its time: until the slot rests, the silence that is allowed, and two looks.
		time.Sleep(restful + unheardFor + 2*listenEvery - time.Since(began))
		for at, side := range sides {
			for _, v := range side {
				checkSide(t, v, side, sides[1-at])
			}
		}
		if a, b := sides[0][0].code().Groups, sides[1][0].code().Groups; a == b {
			t.Error("both sides show one code")
		}
		close(until)
		wg.Wait()
		for _, v := range voices {
			v.stop()
		}
	})
}

// checkSide holds one member of a forked room against what it must have seen by now.
func checkSide(t *testing.T, v *voice, own, others []*voice) {
	t.Helper()
	missed := map[string]bool{}
	for _, p := range alarms(v.client) {
		if p.Code != "alarm_not_heard" {
			t.Errorf("%s was alarmed by %v", v.device.name, p)
		}
		missed[fmt.Sprint(p.Args["name"])] = true
	}
	want := map[string]bool{}
	for _, o := range others {
		want[o.device.name] = true
	}
	if !maps.Equal(missed, want) {
		t.Errorf("%s misses %v, and not %v:%s", v.device.name, missed, want, v.story())
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, o := range others {
		if n := v.opened[o.device.name]; n != 0 {
			t.Errorf("%s opened %d frames of %s, who is on the other side", v.device.name, n, o.device.name)
		}
	}
	for _, o := range own {
		if o != v && v.opened[o.device.name] < 100 {
			t.Errorf("%s opened %d frames of %s", v.device.name, v.opened[o.device.name], o.device.name)
		}
		if o.code().Groups != v.code().Groups {
			t.Errorf("%s and %s are on one side and have different codes", v.device.name, o.device.name)
		}
	}
}
