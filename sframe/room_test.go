package sframe

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

func base(n byte) []byte { return bytes.Repeat([]byte{n}, BaseKeySize) }

func mustSender(t testing.TB, epoch uint64, leaf Leaf, context Context, kind Kind) *Sender {
	t.Helper()
	s, err := NewSender(base(byte(epoch)), epoch, leaf, context, kind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustKeyring(t testing.TB, epoch uint64, members ...Leaf) *Keyring {
	t.Helper()
	k := NewKeyring()
	if err := k.Add(epoch, base(byte(epoch)), members, now); err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t testing.TB, s *Sender, prefix []byte, frame string) []byte {
	t.Helper()
	out, err := s.Seal(nil, prefix, []byte(frame))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAFrameSaysWhoSealedItAndIsOfFixedSize(t *testing.T) {
	for _, epoch := range []uint64{0, 1, 255, 256, 1 << 40} {
		for _, leaf := range []Leaf{0, 7, MaxLeaf} {
			k := mustKeyring(t, epoch, leaf)
			for _, context := range []Context{FirstContext, LastContext} {
				s := mustSender(t, epoch, leaf, context, Microphone)
				for n := range uint32(3) {
					sealed := seal(t, s, nil, "eighty octets of sound")
					if len(sealed) != Overhead+22 || len(sealed) != HeaderSize+22+RoomSuite.Overhead() {
						t.Errorf("%d octets", len(sealed))
					}
					frame, from, err := k.Open(nil, Microphone, nil, sealed, now)
					if err != nil || string(frame) != "eighty octets of sound" || from != (From{leaf, context, epoch, firstCounter + n}) {
						t.Errorf("epoch %d leaf %d: %q, %v, %v", epoch, leaf, frame, from, err)
					}
				}
			}
		}
	}
}

func TestAFrameOpensOnceAndOnlyAsWhatItIs(t *testing.T) {
	s := mustSender(t, 1, 3, FirstContext, Camera)
	sealed := seal(t, s, VideoPrefix(true), "frame")
	prefix, body, key, ok := CutVideoPrefix(sealed)
	if !ok || !key || !bytes.Equal(prefix, VideoPrefix(true)) {
		t.Fatal("the prefix is not found")
	}
	k := mustKeyring(t, 1, 3)
	for name, try := range map[string]func() error{
		"as another kind":    func() error { _, _, err := k.Open(nil, Screen, prefix, body, now); return err },
		"behind a delta":     func() error { _, _, err := k.Open(nil, Camera, VideoPrefix(false), body, now); return err },
		"without its prefix": func() error { _, _, err := k.Open(nil, Camera, nil, body, now); return err },
		"cut":                func() error { _, _, err := k.Open(nil, Camera, prefix, body[:len(body)-1], now); return err },
		"with another leaf": func() error {
			_, _, err := mustKeyring(t, 1, 3, 4).Open(nil, Camera, prefix, with(body, 3, 4), now)
			return err
		},
		"with another stream": func() error { _, _, err := k.Open(nil, Camera, prefix, with(body, 1, 0x81), now); return err },
		"with another time":   func() error { _, _, err := k.Open(nil, Camera, prefix, with(body, 8, 9), now); return err },
	} {
		if err := try(); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := k.Open(nil, Camera, prefix, body, now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Open(nil, Camera, prefix, body, now); !errors.Is(err, ErrReplay) {
		t.Errorf("twice: %v", err)
	}
}

func with(b []byte, i int, v byte) []byte {
	out := bytes.Clone(b)
	out[i] = v
	return out
}

func TestFramesThatNoSenderMakesAreMalformed(t *testing.T) {
	k := mustKeyring(t, 1, 3)
	good := seal(t, mustSender(t, 1, 3, FirstContext, Microphone), nil, "x")
	for name, frame := range map[string][]byte{
		"nothing":                nil,
		"a header alone":         good[:HeaderSize],
		"short of a tag":         good[:Overhead-1],
		"a shorter counter":      with(good, 0, 0xba),
		"clear Opus":             append([]byte{0xf8, 0xff, 0xfe}, make([]byte, 77)...),
		"a context out of range": with(good, 1, 0x7f),
		"a counter out of range": with(good, 5, 0),
	} {
		if out, _, err := k.Open([]byte("keep"), Microphone, nil, frame, now); !errors.Is(err, ErrHeader) || string(out) != "keep" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyMembersOfTheEpochAreHeard(t *testing.T) {
	k := mustKeyring(t, 1, 3)
	if _, from, err := k.Open(nil, Microphone, nil, seal(t, mustSender(t, 1, 4, FirstContext, Microphone), nil, "x"), now); !errors.Is(err, ErrNotMember) || from.Leaf != 4 {
		t.Errorf("a stranger: %v", err)
	}
	early := seal(t, mustSender(t, 2, 4, FirstContext, Microphone), nil, "x")
	if _, _, err := k.Open(nil, Microphone, nil, early, now); !errors.Is(err, ErrUnknownEpoch) {
		t.Errorf("before its epoch: %v", err)
	}
	if err := k.Add(2, base(2), []Leaf{4}, now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Open(nil, Microphone, nil, early, now); err != nil {
		t.Errorf("held until its epoch came: %v", err)
	}
	if _, _, err := k.Open(nil, Microphone, nil, seal(t, mustSender(t, 2, 3, FirstContext, Microphone), nil, "x"), now); !errors.Is(err, ErrNotMember) {
		t.Errorf("removed: %v", err)
	}
}

func TestAnEpochEndsTenSecondsAfterTheNext(t *testing.T) {
	s := mustSender(t, 1, 3, FirstContext, Microphone)
	frames := [][]byte{seal(t, s, nil, "a"), seal(t, s, nil, "b"), seal(t, s, nil, "c")}
	k := mustKeyring(t, 1, 3)
	later := now.Add(time.Hour)
	if err := k.Add(2, base(2), []Leaf{3}, later); err != nil {
		t.Fatal(err)
	}
	if err := k.Add(3, base(3), []Leaf{3}, later.Add(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Open(nil, Microphone, nil, frames[0], later.Add(Grace-1)); err != nil {
		t.Errorf("within the grace: %v", err)
	}
	if _, _, err := k.Open(nil, Microphone, nil, frames[1], later.Add(Grace)); !errors.Is(err, ErrUnknownEpoch) {
		t.Errorf("after the grace, not expired: %v", err)
	}
	old := k.epochs[1]
	k.Expire(later.Add(Grace))
	if len(k.epochs) != 2 || !bytes.Equal(old.secret, make([]byte, len(old.secret))) || old.streams != nil {
		t.Errorf("%d epochs are left, or not wiped", len(k.epochs))
	}
	k.Retire(2)
	if len(k.epochs) != 1 || k.epochs[3] == nil {
		t.Error("retired another epoch")
	}
	k.Retire(3 + 256)
	if len(k.epochs) != 1 {
		t.Error("retired an epoch with the same low bits")
	}
}

func TestAnEpochWithTheSameLowBitsTakesThePlace(t *testing.T) {
	k := mustKeyring(t, 1, 3)
	if err := k.Add(257, base(1), []Leaf{3}, now); err != nil {
		t.Fatal(err)
	}
	for _, epoch := range []uint64{0, 1, 256, 257} {
		if err := k.Add(epoch, base(9), nil, now); !errors.Is(err, ErrEpoch) {
			t.Errorf("epoch %d after 257: %v", epoch, err)
		}
	}
	_, from, err := k.Open(nil, Microphone, nil, seal(t, mustSender(t, 257, 3, FirstContext, Microphone), nil, "x"), now)
	if err != nil && from.Epoch != 257 {
		t.Errorf("%v, %v", from, err)
	}
}

func TestTheReplayWindowIsThatOfASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var w window
	seen := map[uint32]bool{}
	newest := uint32(0)
	next := uint32(firstCounter)
	for i := range 200_000 {
		ctr := next
		switch rng.IntN(4) {
		case 0:
			next += uint32(rng.IntN(3))
		case 1:
			ctr -= min(uint32(rng.IntN(1400)), ctr-firstCounter)
		case 2:
			if i%500 == 0 {
				next += uint32(rng.IntN(5000))
			}
		}
		next++
		want := !seen[ctr] && (ctr > newest || newest-ctr < windowSize)
		if got := w.fresh(ctr); got != want {
			t.Fatalf("step %d, counter %d, newest %d: got %v", i, ctr, newest, got)
		}
		if want {
			w.mark(ctr)
			seen[ctr] = true
			newest = max(newest, ctr)
		}
	}
}

func TestForgedFramesMoveNothing(t *testing.T) {
	s := mustSender(t, 1, 3, FirstContext, Microphone)
	k := mustKeyring(t, 1, 3)
	first, second := seal(t, s, nil, "a"), seal(t, s, nil, "b")
	if _, _, err := k.Open(nil, Microphone, nil, first, now); err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(second)
	copy(forged[5:], []byte{0xff, 0xff, 0xff, 0xff})
	for context := FirstContext; context <= LastContext; context++ {
		forged[1], forged[2] = byte(context>>4), byte(context<<4)|forged[2]&15
		if _, _, err := k.Open(nil, Microphone, nil, forged, now); !errors.Is(err, ErrOpen) {
			t.Fatal(err)
		}
	}
	if n := len(k.epochs[1].streams); n != 1 {
		t.Errorf("forged frames made %d streams", n-1)
	}
	if _, _, err := k.Open(nil, Microphone, nil, second, now); err != nil {
		t.Errorf("the window moved: %v", err)
	}
}

func TestALeafsStreamsAreBounded(t *testing.T) {
	k := mustKeyring(t, 1, 3, 4)
	for i := range maxContexts + 1 {
		c := FirstContext + Context(i)
		_, _, err := k.Open(nil, Microphone, nil, seal(t, mustSender(t, 1, 3, c, Microphone), nil, "x"), now)
		if i < maxContexts && err != nil || i == maxContexts && !errors.Is(err, ErrCrowded) {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if _, _, err := k.Open(nil, Microphone, nil, seal(t, mustSender(t, 1, 4, FirstContext, Microphone), nil, "x"), now); err != nil {
		t.Errorf("another leaf suffers: %v", err)
	}
}

// Streams start, stop and start again, epochs come, some twice: what a browser does in an hour. No key, KID and counter
// may come twice. The epoch's number stands for its key.
func TestKeyKIDAndCounterNeverComeTwice(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	type use struct {
		epoch uint64
		kid   uint32
		ctr   uint32
	}
	used := map[use]bool{}
	next := FirstContext // each start has the next one, as package endpoint hands them out
	var senders []*Sender
	epoch := uint64(0)
	for step := range 60_000 {
		switch n := rng.IntN(1000); {
		case n < 20:
			if next > LastContext {
				continue
			}
			s := mustSender(t, epoch, 3, next, Kind(1+rng.IntN(3)))
			next++
			s.next += uint64(rng.IntN(3)) * 5_000 // as if it had sent for long
			senders = append(senders, s)
		case n < 25:
			epoch++
			for i := range senders {
				if rng.IntN(10) > 0 { // a worker may hear of the epoch late
					if err := senders[i].Enter(base(byte(epoch)), epoch); err != nil {
						t.Fatal(err)
					}
				}
			}
		case n < 40 && len(senders) > 0: // told of an epoch again, or of an old one
			s := senders[rng.IntN(len(senders))]
			if err := s.Enter(base(byte(s.epoch)), s.epoch-min(s.epoch, uint64(rng.IntN(3)))); !errors.Is(err, ErrEpoch) {
				t.Fatal(err)
			}
		case n < 50 && len(senders) > 3:
			i := rng.IntN(len(senders))
			senders[i].Wipe()
			senders = slices.Delete(senders, i, i+1)
		case len(senders) > 0:
			s := senders[rng.IntN(len(senders))]
			sealed, err := s.Seal(nil, nil, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			h, _, err := ParseHeader(sealed)
			if err != nil {
				t.Fatal(err)
			}
			u := use{s.epoch, uint32(h.KID), uint32(h.CTR)}
			if used[u] {
				t.Fatalf("step %d: %+v comes twice", step, u)
			}
			used[u] = true
		}
	}
	if len(used) < 10_000 || next < FirstContext+500 {
		t.Errorf("only %d frames, %d streams", len(used), next-FirstContext)
	}
}

func TestACounterStopsBeforeItRepeats(t *testing.T) {
	s := mustSender(t, 1, 3, FirstContext, Microphone)
	s.next = lastCounter
	if sealed := seal(t, s, nil, "last"); len(sealed) != Overhead+4 {
		t.Errorf("%d octets", len(sealed))
	}
	for range 3 {
		if out, err := s.Seal([]byte("keep"), nil, []byte("x")); !errors.Is(err, ErrExhausted) || string(out) != "keep" {
			t.Errorf("%q, %v", out, err)
		}
	}
	if err := s.Enter(base(2), 2); err != nil {
		t.Fatal(err)
	}
	seal(t, s, nil, "goes on")
	s.Wipe()
	if _, err := s.Seal(nil, nil, []byte("x")); err == nil {
		t.Error("sealed after it was wiped")
	}
}

func TestSendersRefuseWhatAKIDCannotName(t *testing.T) {
	for name, try := range map[string]func() (*Sender, error){
		"a leaf":       func() (*Sender, error) { return NewSender(base(1), 1, MaxLeaf+1, FirstContext, Camera) },
		"a context":    func() (*Sender, error) { return NewSender(base(1), 1, 1, FirstContext-1, Camera) },
		"a context up": func() (*Sender, error) { return NewSender(base(1), 1, 1, LastContext+1, Camera) },
		"a kind":       func() (*Sender, error) { return NewSender(base(1), 1, 1, FirstContext, 0) },
		"a base key":   func() (*Sender, error) { return NewSender(base(1)[1:], 1, 1, FirstContext, Camera) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	k := NewKeyring()
	if k.Add(1, base(1)[1:], nil, now) == nil || k.Add(1, base(1), []Leaf{MaxLeaf + 1}, now) == nil {
		t.Error("the keyring took it")
	}
}

func TestSealingAndOpeningAllocateNothing(t *testing.T) {
	s := mustSender(t, 1, 3, FirstContext, Camera)
	k := mustKeyring(t, 1, 3)
	frame := make([]byte, 1200)
	sealed := make([]byte, 0, 2000)
	opened := make([]byte, 0, 2000)
	if n := testing.AllocsPerRun(1000, func() {
		out, err := s.Seal(sealed, VideoPrefix(true), frame)
		if err != nil {
			t.Fatal(err)
		}
		prefix, body, _, _ := CutVideoPrefix(out)
		if _, _, err := k.Open(opened, Camera, prefix, body, now); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSecretsShowNothing(t *testing.T) {
	s := mustSender(t, 1, 3, FirstContext, Camera)
	k := mustKeyring(t, 1, 3)
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{s, s.key, k} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			fmt.Fprintf(&out, verb+" ", v)
		}
		log.Info("x", "v", v)
	}
	if out.Len() > 1000 || bytes.Contains(out.Bytes(), []byte("[")) {
		t.Errorf("printed %s", out.String())
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(seal(f, mustSender(f, 1, 3, FirstContext, Camera), VideoPrefix(true), "x"))
	f.Add(seal(f, mustSender(f, 1, 3, FirstContext, Camera), VideoPrefix(false), "x"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if h, n, err := ParseHeader(payload); err == nil && !bytes.Equal(h.Append(nil), payload[:n]) {
			t.Fatalf("two encodings of %+v", h)
		}
		known := payload
		prefix, sealed, _, ok := CutVideoPrefix(payload)
		if ok {
			known = sealed
		}
		k := mustKeyring(t, 1, 3)
		if out, _, err := k.Open(nil, Camera, prefix, known, now); err == nil && string(out) != "x" {
			t.Fatal("a forged frame opened")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	s := mustSender(b, 1, 3, FirstContext, Microphone)
	frame, out := make([]byte, 80), make([]byte, 0, 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(out, nil, frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s, k := mustSender(b, 1, 3, FirstContext, Microphone), mustKeyring(b, 1, 3)
	frame, sealed, out := make([]byte, 80), make([]byte, 0, 200), make([]byte, 0, 200)
	b.ReportAllocs()
	for b.Loop() {
		in, err := s.Seal(sealed, nil, frame)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := k.Open(out, Microphone, nil, in, now); err != nil {
			b.Fatal(err)
		}
	}
}
