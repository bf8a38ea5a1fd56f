//go:build !js

package signal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"

	"conclave"
)

// The language between the phone gateway and the server: GET /v1/gateway, the subprotocol GatewaySubprotocol, frames as in
// signalling. The gateway proves who it is with its own statement (kind "gateway") and then tells of each call; the server
// answers what may become of it. The gateway never learns of a meeting before a caller has entered a good code for it. A leg
// itself joins over GET /v1/signal like any other, with the statement that its call was given.

// GatewaySubprotocol is offered and demanded in the WebSocket handshake of a gateway.
const GatewaySubprotocol = "conclave.gateway.1"

// CallID names one call of a gateway, 64 random bits. Its text form is 16 hexadecimal digits. It says nothing of anybody.
type CallID [8]byte

// NewCallID draws a call's name.
func NewCallID() (id CallID) {
	rand.Read(id[:])
	return id
}

// Text returns 16 hexadecimal digits.
func (id CallID) Text() string { return hex.EncodeToString(id[:]) }

// String returns Text: a call's name is no secret.
func (id CallID) String() string { return id.Text() }

// MarshalText implements encoding.TextMarshaler.
func (id CallID) MarshalText() ([]byte, error) { return []byte(id.Text()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *CallID) UnmarshalText(b []byte) error {
	if len(b) != 2*len(id) {
		return errors.New("signal: malformed call id")
	}
	_, err := hex.Decode(id[:], b)
	return err
}

// PhoneLine is what a gateway found of a call's line, on its own word: it has seen the signalling and the media itself.
type PhoneLine string

// The lines of a call.
const (
	PhoneOpen PhoneLine = "phone" // anybody on the way can hear it
	PhoneHop  PhoneLine = "hop"   // TLS with an authenticated trunk, and SRTP: encrypted to the gateway, unknown beyond the trunk
)

// The messages of a gateway.
type (
	// GatewayHello answers Challenge.
	GatewayHello struct {
		Statement []byte `json:"statement"` // of kind "gateway", encoded (package pass)
		Signature []byte `json:"signature"` // by its key over GatewayContent
		Version   string `json:"version"`
		// Calls are those that live, after a lost connection: their legs keep their places.
		Calls []CallID `json:"calls,omitempty"`
	}
	// CallCame tells of a call that is not answered yet. CallScreened answers it.
	CallCame struct {
		Call CallID    `json:"call"`
		Line PhoneLine `json:"line"`
		// Caller is the number as the caller's network claims it; "" if withheld. It is used for brakes alone, hashed.
		Caller string `json:"caller,omitempty"`
		Trunk  string `json:"trunk"` // the trunk's name in the gateway's configuration
	}
	// CallCode brings a code that was entered by keys, and the key that the call's leg is to have. CallAnswer answers it.
	CallCode struct {
		Call    CallID `json:"call"`
		Code    string `json:"code"`     // digits alone
		LeafKey []byte `json:"leaf_key"` // of this call only: an uncompressed P-256 point
		Proof   []byte `json:"proof"`    // by the leaf key over CallContent
	}
	// CallBack is a caller's wish, by key, to be rung at the number that the directory has for the person whose code it was.
	CallBack struct {
		Call CallID `json:"call"`
	}
	// CallKey brings the key of a call that the server asked for with RingOut, once it was taken and consented to.
	// CallAnswer answers it.
	CallKey struct {
		Call    CallID    `json:"call"`
		Line    PhoneLine `json:"line"`
		LeafKey []byte    `json:"leaf_key"`
		Proof   []byte    `json:"proof"`
	}
	// CallOver says that a call has ended, one that was asked for among them.
	CallOver struct {
		Call    CallID `json:"call"`
		Outcome string `json:"outcome"` // one of CallOutcomes
	}
)

// CallOutcomes are how a call can end.
var CallOutcomes = []string{"refused", "no_code", "no_consent", "left", "removed", "lost", "cancelled", "unanswered", "forbidden", "failed", "time"}

// The messages to a gateway.
type (
	// GatewayReady says that the gateway is known. Statement is a fresh one where the old soon runs out.
	GatewayReady struct {
		Organisation string   `json:"organisation"` // its name
		Root         []byte   `json:"root"`
		Grants       [][]byte `json:"grants"`
		Statement    []byte   `json:"statement,omitempty"`
	}
	// CallScreened answers CallCame: the code may be asked for, or there is nothing that such a call could be let into.
	CallScreened struct {
		Call    CallID             `json:"call"`
		Ask     bool               `json:"ask"`
		Reasons []conclave.Problem `json:"reasons,omitempty"`
	}
	// CallAnswer answers CallCode and CallKey.
	CallAnswer struct {
		Call CallID `json:"call"`
		// Right says that the code was right, whatever was ruled; Left how many tries there are still if it was not.
		Right bool `json:"right"`
		Left  int  `json:"left"`
		// Reasons say why the call is refused; empty: Statement and Meeting are set, and its leg may join.
		Reasons   []conclave.Problem `json:"reasons,omitempty"`
		Statement []byte             `json:"statement,omitempty"`
		Meeting   conclave.MeetingID `json:"meeting,omitzero"`
		// CallBack says that the person may ask to be rung.
		CallBack bool `json:"call_back,omitempty"`
	}
	// RingOut asks the gateway to ring a number or a SIP address, which is the directory's.
	RingOut struct {
		Call    CallID `json:"call"`
		Address string `json:"address"`
		// Secure demands SRTP over TLS: the meeting admits nothing less.
		Secure bool `json:"secure"`
	}
	// CallEnd has a call ended, with a spoken reason.
	CallEnd struct {
		Call   CallID           `json:"call"`
		Reason conclave.Problem `json:"reason"`
	}
)

// GatewayContent is what a gateway's key signs in GatewayHello.
func GatewayContent(nonce []byte, host string) []byte {
	return content("Conclave gateway 1", nonce, []byte(host))
}

// GatewayEnrolContent is what a gateway's key signs to be enrolled, over the token in its text form.
func GatewayEnrolContent(token string) []byte {
	return append([]byte("Conclave gateway enrol 1\x00"), token...)
}

// CallContent is what the key of a call signs: that whoever brings it on this connection holds it.
func CallContent(nonce []byte, call CallID) []byte {
	return content("Conclave call 1", nonce, call[:])
}

// Limits of the gateway's messages.
const (
	// MaxCode is twice the length of a code: what is longer is a hand on the keys.
	MaxCode = 24
	// MaxCalls bounds the calls of one gateway.
	MaxCalls = 500
	// maxKey is the size of an uncompressed P-256 point.
	maxKey = 65
)

func (m *GatewayHello) check() error {
	if len(m.Statement) > MaxStatement || len(m.Signature) > MaxSignature || long(m.Version) || len(m.Calls) > MaxCalls {
		return errSize
	}
	return nil
}

func (m *CallCame) check() error {
	if long(m.Caller) || len(m.Trunk) > 64 {
		return errSize
	}
	return m.Line.check()
}

func (m *CallCode) check() error {
	if len(m.Code) == 0 || len(m.Code) > MaxCode || len(m.LeafKey) != maxKey || len(m.Proof) > MaxSignature {
		return errSize
	}
	for i := range len(m.Code) {
		if m.Code[i] < '0' || m.Code[i] > '9' {
			return errShape
		}
	}
	return nil
}

func (m *CallKey) check() error {
	if len(m.LeafKey) != maxKey || len(m.Proof) > MaxSignature {
		return errSize
	}
	return m.Line.check()
}

func (m *CallOver) check() error {
	if !slices.Contains(CallOutcomes, m.Outcome) {
		return errShape
	}
	return nil
}

func (l PhoneLine) check() error {
	if l != PhoneOpen && l != PhoneHop {
		return errShape
	}
	return nil
}

// Type implements Message.
func (*GatewayHello) Type() string { return "gateway_hello" }

// Type implements Message.
func (*CallCame) Type() string { return "call_came" }

// Type implements Message.
func (*CallCode) Type() string { return "call_code" }

// Type implements Message.

// Type implements Message.
func (*CallBack) Type() string { return "call_back" }

// Type implements Message.
func (*CallKey) Type() string { return "call_key" }

// Type implements Message.
func (*CallOver) Type() string { return "call_over" }

// Type implements Message.
func (*GatewayReady) Type() string { return "gateway_ready" }

// Type implements Message.
func (*CallScreened) Type() string { return "call_screened" }

// Type implements Message.
func (*CallAnswer) Type() string { return "call_answer" }

// Type implements Message.
func (*RingOut) Type() string { return "ring_out" }

// Type implements Message.
func (*CallEnd) Type() string { return "call_end" }

// gatewayMessages are what a gateway sends, and serverMessages what it is sent.
var (
	gatewayMessages = map[string]func() Message{
		"gateway_hello": func() Message { return new(GatewayHello) },
		"call_came":     func() Message { return new(CallCame) },
		"call_code":     func() Message { return new(CallCode) },
		"call_back":     func() Message { return new(CallBack) },
		"call_key":      func() Message { return new(CallKey) },
		"call_over":     func() Message { return new(CallOver) },
		"ping":          func() Message { return new(Ping) },
		"pong":          func() Message { return new(Pong) },
	}
	serverMessages = map[string]func() Message{
		"challenge":     func() Message { return new(Challenge) },
		"gateway_ready": func() Message { return new(GatewayReady) },
		"call_screened": func() Message { return new(CallScreened) },
		"call_answer":   func() Message { return new(CallAnswer) },
		"ring_out":      func() Message { return new(RingOut) },
		"call_end":      func() Message { return new(CallEnd) },
		"failed":        func() Message { return new(Failed) },
		"ping":          func() Message { return new(Ping) },
		"pong":          func() Message { return new(Pong) },
	}
)
