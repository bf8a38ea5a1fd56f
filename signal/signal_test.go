package signal

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"conclave"
)

func TestEveryMessageComesBackAsItWasSent(t *testing.T) {
	for side := range messages {
		for name, make := range messages[side] {
			m := make()
			if m.Type() != name {
				t.Errorf("%s says that it is %s", name, m.Type())
			}
			switch m := m.(type) {
			case *Enter:
				m.GroupInfo, m.Commit = []byte{1}, []byte{2}
			case *Commit:
				m.Message = []byte{1}
			case *Proposal:
				m.Message = []byte{1}
			case *Media:
				m.Ufrag, m.Password = "abcd", strings.Repeat("p", 22)
				m.Fingerprint, m.ServerFingerprint, m.Opus, m.VP8 = make32(), make32(), 111, 96
			case *Remove:
				m.Reason = "other"
			case *Preside:
				m.Act, m.Leg = "offer", conclave.LegID{1}
			case *Except:
				m.Reason, m.Minutes = "the only line there is", 10
			case *Probe:
				m.Fingerprint = make32()
			case *Consistency:
				m.From, m.To = 1, 2
			case *Restate:
				m.Statement = []byte{1}
			case *Ledger:
				m.Sealed = []byte{1}
			case *Mark:
				m.Commitment, m.Sealed = make32(), []byte{1}
			case *Ring:
				m.Person = "anna.weber"
			case *CallCame:
				m.Line = PhoneOpen
			case *CallCode:
				m.Code, m.LeafKey = "123456789012", append(make32(), append(make32(), 4)...)
			case *CallKey:
				m.Line, m.LeafKey = PhoneHop, append(make32(), append(make32(), 4)...)
			case *CallOver:
				m.Outcome = "left"
			}
			back, err := Decode(Encode(m), Side(side))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if !reflect.DeepEqual(back, m) {
				t.Errorf("%s: got %+v, want %+v", name, back, m)
			}
		}
	}
}

func make32() []byte { return make([]byte, 32) }

func TestMalformedFramesAreRefused(t *testing.T) {
	for name, frame := range map[string]string{
		"no JSON":             `hello`,
		"no type":             `{"body":{}}`,
		"no body":             `{"type":"join"}`,
		"another side's":      `{"type":"admitted","body":{}}`,
		"an unknown field":    `{"type":"join","body":{"rank":"general"}}`,
		"an unknown envelope": `{"type":"join","body":{},"v":2}`,
		"something behind":    `{"type":"join","body":{}}{}`,
		"a proven fact":       `{"type":"join","body":{"facts":[{"name":"network","value":"x","proven":true}]}}`,
		"a long fact":         `{"type":"join","body":{"facts":[{"name":"network","value":"` + strings.Repeat("x", 300) + `"}]}}`,
		"a reason of its own": `{"type":"remove","body":{"leg":"0011223344556677","reason":"rank"}}`,
		"a short leg":         `{"type":"remove","body":{"leg":"00","reason":"other"}}`,
		"a large ping":        `{"type":"ping","body":{"n":1` + strings.Repeat(" ", MaxSmallFrame) + `}}`,
	} {
		if m, err := Decode([]byte(frame), FromClient); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %v, %v", name, m, err)
		} else if strings.Contains(err.Error(), "general") || strings.Contains(err.Error(), "network") {
			t.Errorf("%s: the error quotes the frame: %v", name, err)
		}
	}
}

func TestContentsOfDifferentPartsDiffer(t *testing.T) {
	a := HelloContent([]byte("nonce"), conclave.MeetingID{}, "host", Client{})
	b := HelloContent([]byte("nonc"), conclave.MeetingID{}, "ehost", Client{})
	if string(a) == string(b) {
		t.Error("two hellos, one content")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"type":"join","body":{"facts":[{"name":"network","value":"x"}]}}`), false)
	f.Add(Encode(&Hello{Statement: []byte{1}, Resume: &Resume{Epoch: 3}}), false)
	f.Add(Encode(&Slots{Audio: []int{1, -1}}), true)
	f.Fuzz(func(t *testing.T, frame []byte, server bool) {
		side := FromClient
		if server {
			side = FromServer
		}
		m, err := Decode(frame, side)
		if err != nil {
			return
		}
		if _, err := Decode(Encode(m), side); err != nil {
			t.Fatalf("%s does not come back: %v", m.Type(), err)
		}
	})
}
