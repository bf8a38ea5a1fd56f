package speech

import (
	"bytes"
	"crypto/rand"
	"math"
	mathrand "math/rand/v2"
	"reflect"
	"testing"

	"conclave"
	"conclave/escrow"
)

func TestABlockComesBackAsItWas(t *testing.T) {
	for _, b := range []Block{
		{},
		{Minute: 7, Sent: 480_123, Until: 60_000, Spans: []Span{{0, 1}, {3, 9_000}, {59_000, 60_000}}},
		{Minute: MaxMinutes - 1, Sent: math.MaxUint32, Until: 1},
	} {
		encoded, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(encoded)
		if err != nil || len(encoded) != Size || !reflect.DeepEqual(*back, b) {
			t.Errorf("%+v came back as %+v, %v", b, back, err)
		}
	}
}

func TestTooManySpansAreMergedAcrossTheShortestSilences(t *testing.T) {
	var b Block
	for i := range uint16(300) {
		from := i * 200
		b.Spans = append(b.Spans, Span{from, from + 100 + (i%2)*90}) // silences of 100 and of 10 in turn
	}
	encoded, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(encoded)
	if err != nil || !back.Merged || len(back.Spans) != MaxSpans {
		t.Fatalf("%d spans, merged %v, %v", len(back.Spans), back.Merged, err)
	}
	covered := func(spans []Span) (ms int) {
		for _, s := range spans {
			ms += int(s.To - s.From)
		}
		return ms
	}
	// What was told as speech stays told; no more than the silences between is added.
	if got, was := covered(back.Spans), covered(b.Spans); got < was || got-was > 150*10+30*100 {
		t.Errorf("%d ms of speech came back as %d", was, got)
	}
}

func TestSpansOutOfOrderAreRefused(t *testing.T) {
	for _, spans := range [][]Span{{{5, 5}}, {{5, 4}}, {{0, 10}, {10, 20}}, {{0, 10}, {5, 20}}, {{0, 60_001}}} {
		if _, err := (&Block{Spans: spans}).Encode(); err == nil {
			t.Errorf("%v was encoded", spans)
		}
	}
}

func TestASealedBlockOpensAsThatLegsMinuteOnly(t *testing.T) {
	key, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := Block{Minute: 3, Until: 60_000, Spans: []Span{{10, 20}}}
	meeting, leg := conclave.MeetingID{1}, conclave.LegID{2}
	sealed, err := b.Seal(key.Public(), meeting, leg)
	if err != nil || len(sealed) != SealedSize {
		t.Fatal(len(sealed), err)
	}
	silent, err := (&Block{Minute: 3}).Seal(key.Public(), meeting, leg)
	if err != nil || len(silent) != len(sealed) || bytes.Equal(silent[:100], sealed[:100]) {
		t.Error("silence is told apart from speech")
	}
	if back, err := Open(key, meeting, leg, 3, sealed); err != nil || !reflect.DeepEqual(*back, b) {
		t.Error(back, err)
	}
	if _, err := Open(key, meeting, leg, 4, sealed); err == nil {
		t.Error("opened as another minute")
	}
	if _, err := Open(key, meeting, conclave.LegID{3}, 3, sealed); err == nil {
		t.Error("opened as another leg's")
	}
	if _, err := Open(key, conclave.MeetingID{9}, leg, 3, sealed); err == nil {
		t.Error("opened as another meeting's")
	}
}

func FuzzDecode(f *testing.F) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for n := range 4 {
		b := Block{Minute: uint32(n), Until: 60_000}
		for i := range uint16(n * 30) {
			from := i * 400
			b.Spans = append(b.Spans, Span{from, from + 1 + uint16(r.IntN(300))})
		}
		encoded, err := b.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := Decode(in)
		if err != nil {
			return
		}
		if again, err := b.Encode(); err != nil || !bytes.Equal(again, in) {
			t.Fatalf("%+v is not the only encoding: %v", b, err)
		}
	})
}
