// Package signal is the language between an endpoint and the server: versioned messages, one Go type each, in JSON text
// frames over one WebSocket. It decodes with limits and knows nothing of rooms, keys or sockets. docs/protocol.md
// describes each message for people.
//
// A frame is one JSON object: {"type":"join","body":{…}}. Unknown types and unknown fields are errors; so is a frame over
// the sender's limit. The version stands in the WebSocket subprotocol ("conclave.1").
package signal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Subprotocol is offered and demanded in the WebSocket handshake.
const Subprotocol = "conclave.1"

// Sizes of frames in bytes. A server's frame may carry a ratchet tree: 500 members with post-quantum keys are 705 kB, and
// base64 adds a third. A client's largest is a commit with the path of a cold tree of 500 members (613 kB).
const (
	MaxServerFrame = 4 << 20
	MaxClientFrame = 1 << 20
	// MaxSmallFrame holds for every client message that carries no commit.
	MaxSmallFrame = 16 << 10
)

// Side says who sent a frame: each side has its own set of messages.
type Side uint8

// The sides.
const (
	FromClient Side = iota
	FromServer
	FromGateway // to the server
	ToGateway   // from the server
)

// Message is one of the message types of this package.
type Message interface {
	// Type is the word in the frame's "type" field.
	Type() string
}

// ErrFrame is wrapped by every error of Decode.
var ErrFrame = errors.New("signal: malformed frame")

// Decode reads one frame that side sent. The result is a pointer to one of the message types. Errors wrap ErrFrame and
// never quote the frame.
func Decode(frame []byte, side Side) (Message, error) {
	limit := MaxServerFrame
	switch side {
	case FromClient:
		limit = MaxClientFrame
	case FromGateway, ToGateway:
		limit = MaxSmallFrame
	}
	if len(frame) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrFrame, len(frame), limit)
	}
	var envelope struct {
		Type string          `json:"type"`
		Body json.RawMessage `json:"body"`
	}
	if err := strict(frame, &envelope); err != nil {
		return nil, fmt.Errorf("%w: not an envelope", ErrFrame)
	}
	m := New(side, envelope.Type)
	if m == nil {
		return nil, fmt.Errorf("%w: unknown type", ErrFrame)
	}
	if _, large := m.(largeMessage); side == FromClient && !large && len(frame) > MaxSmallFrame {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d", ErrFrame, m.Type(), len(frame), MaxSmallFrame)
	}
	if err := strict(envelope.Body, m); err != nil {
		return nil, fmt.Errorf("%w: bad %s", ErrFrame, m.Type())
	}
	if c, ok := m.(checker); ok {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%w: bad %s: %v", ErrFrame, m.Type(), err)
		}
	}
	return m, nil
}

// New returns an empty message of a type that side may send, nil where there is none of that name.
func New(side Side, kind string) Message {
	if make := messages[side][kind]; make != nil {
		return make()
	}
	return nil
}

// Encode writes one frame. It panics on a message that JSON cannot hold, which our own types cannot be.
func Encode(m Message) []byte {
	body, err := json.Marshal(m)
	if err != nil {
		panic("signal: encode " + m.Type() + ": " + err.Error())
	}
	frame := make([]byte, 0, len(body)+32)
	frame = append(frame, `{"type":"`...)
	frame = append(frame, m.Type()...)
	frame = append(frame, `","body":`...)
	frame = append(frame, body...)
	return append(frame, '}')
}

// strict decodes one JSON value into v: no unknown fields, nothing behind it.
func strict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("trailing data")
	}
	return nil
}

// largeMessage marks the client messages that may exceed MaxSmallFrame.
type largeMessage interface{ large() }

// checker is a message with limits beyond its shape.
type checker interface{ check() error }
