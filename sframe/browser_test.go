package sframe

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// roomVector is a stream of a few frames: what both this package and the browser's (web/src/frames) must seal to the
// same octets, and so open from each other.
type roomVector struct {
	Kind    Kind      `json:"kind"`
	Epoch   uint64    `json:"epoch"`
	Leaf    Leaf      `json:"leaf"`
	Context Context   `json:"context"`
	BaseKey string    `json:"base_key"`
	Frames  []payload `json:"frames"`
}

type payload struct {
	KeyFrame bool   `json:"key_frame"`
	Loudness byte   `json:"loudness"`
	Plain    string `json:"plain"`
	Payload  string `json:"payload"`
}

func TestTheBrowserSealsToTheSameOctets(t *testing.T) {
	var vectors []roomVector
	for _, v := range []roomVector{
		{Kind: Microphone, Epoch: 0, Leaf: 0, Context: FirstContext},
		{Kind: Microphone, Epoch: 7, Leaf: 99, Context: LastContext},
		{Kind: Camera, Epoch: 256 + 255, Leaf: MaxLeaf, Context: 0x9ab},
		{Kind: Screen, Epoch: 1 << 40, Leaf: 12, Context: 0xabc},
	} {
		key := base(byte(v.Leaf) ^ 0x5a)
		v.BaseKey = hex.EncodeToString(key)
		s, err := NewSender(key, v.Epoch, v.Leaf, v.Context, v.Kind)
		if err != nil {
			t.Fatal(err)
		}
		k := NewKeyring()
		if err := k.Add(v.Epoch, key, []Leaf{v.Leaf}, now); err != nil {
			t.Fatal(err)
		}
		for i, size := range []int{80, 0, 1, 300} {
			v.Frames = append(v.Frames, sealPayload(t, s, k, i, bytes.Repeat([]byte{byte(i + 1)}, size)))
		}
		vectors = append(vectors, v)
	}
	got, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "room.json")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(got, '\n'), want) {
		t.Errorf("%s is not what is sealed now", path)
	}
}

// sealPayload seals frame i as it goes into RTP, and opens it again.
func sealPayload(t *testing.T, s *Sender, k *Keyring, i int, frame []byte) payload {
	t.Helper()
	p := payload{Plain: hex.EncodeToString(frame)}
	var out []byte
	var prefix []byte
	if s.kind == Microphone {
		p.Loudness = byte(i * 80)
	} else {
		p.KeyFrame = i == 0
		prefix = VideoPrefix(p.KeyFrame)
	}
	out, err := s.Seal(nil, prefix, frame)
	if err != nil {
		t.Fatal(err)
	}
	if opened, _, err := k.Open(nil, s.kind, prefix, out[len(prefix):], now); err != nil || !bytes.Equal(opened, frame) {
		t.Fatalf("frame %d: %v", i, err)
	}
	if s.kind == Microphone {
		out = append(out, p.Loudness)
	}
	p.Payload = hex.EncodeToString(out)
	return p
}
