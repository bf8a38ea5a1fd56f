package sdp

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"conclave/phone/codec"
	"conclave/phone/media"
)

func ours(t testing.TB) *Ours {
	s, err := media.New(media.Config{Local: netip.MustParseAddr("127.0.0.1"), Rand: rand.Reader, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &Ours{Address: netip.MustParseAddr("192.0.2.1"), Port: 4000, Key: s.LocalKey, Session: 1, Version: 1,
		Fingerprint: media.Fingerprint{Hash: "sha-256", Sum: make([]byte, 32)}}
}

const head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"

const key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"

const print = "a=fingerprint:SHA-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF\r\n"

func TestTheStrongestStreamOfAnOfferIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		offer  string
		keying media.Keying
		codec  codec.Codec
	}{
		"plain":                     {"m=audio 5000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", media.Clear, codec.PCMA},
		"keys that nothing demands": {"m=audio 5000 RTP/AVP 0\r\n" + key, media.Clear, codec.PCMU},
		"SDES":                      {"m=audio 5000 RTP/SAVP 9 0\r\n" + key, media.SDES, codec.G722},
		"DTLS":                      {"m=audio 5000 UDP/TLS/RTP/SAVP 111\r\na=rtpmap:111 opus/48000/2\r\na=setup:actpass\r\n" + print, media.DTLS, codec.Opus},
		"DTLS for all":              {print + "a=setup:actpass\r\nm=audio 5000 UDP/TLS/RTP/SAVP 0\r\n", media.DTLS, codec.PCMU},
		"plain first, then SDES":    {"m=audio 5000 RTP/AVP 0\r\nm=audio 5002 RTP/SAVP 0\r\n" + key, media.SDES, codec.PCMU},
		"with video":                {"m=video 5004 RTP/AVP 96\r\nm=audio 5000 RTP/AVP 8\r\n", media.Clear, codec.PCMA},
	} {
		d, err := Parse([]byte(head + c.offer))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		o := ours(t)
		answer, a, err := o.Answer(d)
		if err != nil || a.Security.Keying != c.keying || a.Codec != c.codec {
			t.Errorf("%s: %v %v, %v", name, a.Security.Keying, a.Codec.Name(), err)
			continue
		}
		back, err := Parse(answer)
		if err != nil || len(back.Streams) != len(d.Streams) {
			t.Errorf("%s: the answer %q: %v", name, answer, err)
		}
		used := 0
		for _, s := range back.Streams {
			if s.Remote.Port() != 0 {
				used++
			}
		}
		if used != 1 {
			t.Errorf("%s: %d streams are used: %q", name, used, answer)
		}
	}
}

func TestWhatCannotBeAgreedOnIsRefused(t *testing.T) {
	for name, offer := range map[string]string{
		"another codec":        "m=audio 5000 RTP/AVP 18\r\n",
		"a refused stream":     "m=audio 0 RTP/AVP 0\r\n",
		"SRTP without keys":    "m=audio 5000 RTP/SAVP 0\r\n",
		"SRTP without a cloak": "m=audio 5000 RTP/SAVP 0\r\n" + strings.TrimSpace(key) + " UNENCRYPTED_SRTP\r\n",
		"a short tag":          "m=audio 5000 RTP/SAVP 0\r\n" + strings.Replace(key, "_80", "_32", 1),
		"no sound":             "m=video 5000 RTP/AVP 96\r\n",
	} {
		d, err := Parse([]byte(head + offer))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if answer, _, err := ours(t).Answer(d); !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
	}
}

func TestNoNameInADescriptionIsLookedUp(t *testing.T) {
	for name, text := range map[string]string{
		"a name":    strings.Replace(head, "c=IN IP4 192.0.2.9", "c=IN IP4 pbx.example", 1) + "m=audio 5000 RTP/AVP 0\r\n",
		"multicast": strings.Replace(head, "c=IN IP4 192.0.2.9", "c=IN IP4 224.0.0.1", 1) + "m=audio 5000 RTP/AVP 0\r\n",
		"nothing":   "",
		"no m=":     head,
		"long":      head + "a=" + strings.Repeat("x", 2000) + "\r\n",
		"many":      head + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", 9),
		"huge":      head + strings.Repeat("a=x\r\n", 2000),
	} {
		if d, err := Parse([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestASecureOfferTakesNoClearAnswer(t *testing.T) {
	o, other := ours(t), ours(t)
	offer, err := o.Offer(true)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(offer)
	if err != nil {
		t.Fatal(err)
	}
	answer, theirs, err := other.Answer(d)
	if err != nil || theirs.Security.Receiving.Profile != media.AES128GCM {
		t.Fatalf("%s, %v", theirs.Security.Receiving.Profile, err)
	}
	back, err := Parse(answer)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := o.Take(back, true); err != nil || a.Security.Keying != media.SDES || a.Codec != codec.Opus {
		t.Fatalf("%v, %v", a.Security.Keying, err)
	}
	clear, err := Parse([]byte(head + "m=audio 5000 RTP/AVP 0\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Take(clear, true); !errors.Is(err, ErrNothing) {
		t.Fatalf("a clear answer was taken: %v", err)
	}
}

func TestHoldIsSeen(t *testing.T) {
	for attribute, want := range map[string][2]bool{"a=sendonly": {true, false}, "a=inactive": {true, true}, "a=recvonly": {false, true}, "a=sendrecv": {false, false}} {
		d, err := Parse([]byte(head + "m=audio 5000 RTP/AVP 0\r\n" + attribute + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, a, err := ours(t).Answer(d); err != nil || a.NoSend != want[0] || a.NoListen != want[1] {
			t.Errorf("%s: no send %v, no listen %v, %v", attribute, a.NoSend, a.NoListen, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "m=audio 5000 RTP/SAVP 0 101\r\n" + key + "a=rtpmap:101 telephone-event/8000\r\n"))
	f.Add([]byte(head + print + "m=audio 5000 UDP/TLS/RTP/SAVP 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 cbr=1\r\n"))
	f.Add([]byte(head + "m=video 1 RTP/AVP 96\r\nm=audio 5000 RTP/AVP 0\r\na=sendonly\r\n"))
	o := ours(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		answer, _, err := o.Answer(d)
		if err != nil {
			return
		}
		if _, err := Parse(answer); err != nil {
			t.Fatalf("our own answer: %v: %q", err, answer)
		}
	})
}
