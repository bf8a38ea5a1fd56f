//go:build js && wasm

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"syscall/js"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/pass"
	"conclave/signal"
)

// What follows helps the script enrol this device and renew its statement: the contents to be signed, and whether what the
// server answered holds. The script does the requests and keeps the result.

// der turns WebCrypto's form of a signature into DER; null if it is none.
func der(_ js.Value, args []js.Value) any {
	out, err := endpoint.SignatureFromRaw(toGo(args[0]))
	if err != nil {
		return nil
	}
	return toJS(out)
}

// enrolContent returns what the leaf key signs for the token of a link.
func enrolContent(_ js.Value, args []js.Value) any {
	return toJS(signal.EnrolContent(args[0].String()))
}

// renewContent returns what the leaf key signs over nonce, statement and host.
func renewContent(_ js.Value, args []js.Value) any {
	return toJS(signal.RenewContent(toGo(args[0]), toGo(args[1]), args[2].String()))
}

// vouched returns the challenge under which a passkey vouches for a statement's content; null if that is not for leafKey.
func vouched(_ js.Value, args []js.Value) any {
	content := toGo(args[0])
	if _, err := pass.Vouched(content, toGo(args[1])); err != nil {
		return nil
	}
	challenge := pass.VouchChallenge(content)
	return toJS(challenge[:])
}

// devicesContent returns what the leaf key signs over nonce, statement and host to be told the person's devices.
func devicesContent(_ js.Value, args []js.Value) any {
	return toJS(signal.DevicesContent(toGo(args[0]), toGo(args[1]), args[2].String()))
}

// revokeContent returns what is signed and touched for over nonce, statement, device and host; null if the device has no
// id's form.
func revokeContent(_ js.Value, args []js.Value) any {
	var id conclave.DeviceID
	if id.UnmarshalText([]byte(args[2].String())) != nil {
		return nil
	}
	return toJS(signal.RevokeContent(toGo(args[0]), toGo(args[1]), id, args[3].String()))
}

// linkContent returns what is signed and touched for over nonce, statement and host to have a link for a further device.
func linkContent(_ js.Value, args []js.Value) any {
	return toJS(signal.LinkContent(toGo(args[0]), toGo(args[1]), args[2].String()))
}

// assertionContent returns what is touched for in a join, over nonce, leaf key, meeting, both fingerprints and host; null if
// the meeting has no pointer's form.
func assertionContent(_ js.Value, args []js.Value) any {
	meeting, err := conclave.ParseMeetingID(args[2].String())
	if err != nil {
		return nil
	}
	return toJS(signal.AssertionContent(toGo(args[0]), toGo(args[1]), meeting, toGo(args[3]), toGo(args[4]), args[5].String()))
}

// renewed tells the meeting that is open, if one is, of the device's fresh statement.
func (c *core) renewed(body []byte) error {
	type renewal struct {
		Statement []byte `json:"statement"`
	}
	if c.run == nil || c.run.over.Load() {
		return nil
	}
	return with(c, body, func(e *endpoint.Endpoint, r renewal) error { return e.Renewed(r.Statement) })
}

// claim is what a server says of a device. Pin is empty once the root is pinned.
type claim struct {
	Organisation conclave.OrganisationID `json:"organisation"`
	Root         []byte                  `json:"root"`
	Pin          string                  `json:"pin"` // from the link: base64url of the first 16 bytes of SHA-256 of the root
	Grants       [][]byte                `json:"grants"`
	Statement    []byte                  `json:"statement"`
	LeafKey      []byte                  `json:"leaf_key"`
}

// verdict is either an identity or a problem.
type verdict struct {
	Identity *identity         `json:"identity,omitempty"`
	Problem  *conclave.Problem `json:"problem,omitempty"`
}

type identity struct {
	Name  string    `json:"name"`
	Unit  string    `json:"unit"`
	Until time.Time `json:"until"`
}

// examine tells whether a claim holds, from the pin down to the own key. Without grants only the statement is read: it was
// examined when it came.
func examine(_ js.Value, args []js.Value) any {
	v := verdict{}
	var c claim
	var err error
	if err = json.Unmarshal([]byte(args[0].String()), &c); err == nil {
		v.Identity, err = c.examine(time.Now())
	}
	if err != nil {
		p := conclave.Problem{Code: "statement_malformed", Fix: "enrol_again"}
		errors.As(err, &p)
		v = verdict{Problem: &p}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("conclave-wasm: verdict: " + err.Error())
	}
	return string(b)
}

func (c *claim) examine(now time.Time) (*identity, error) {
	s, err := pass.ParseStatement(c.Statement)
	if err != nil {
		return nil, err
	}
	if c.Grants != nil {
		if err := c.checkPin(); err != nil {
			return nil, err
		}
		trust, err := pass.NewTrust(c.Organisation, ed25519.PublicKey(c.Root), c.Grants, now)
		if err != nil {
			return nil, err
		}
		if s, err = trust.Statement(c.Statement, now); err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(s.LeafKey, c.LeafKey) {
		return nil, conclave.Problem{Code: "statement_key", Fix: "enrol_again"}
	}
	return &identity{Name: s.Name, Unit: s.Unit, Until: s.NotAfter}, nil
}

// pinSize is how much of the root key's hash stands in a link.
const pinSize = 16

// checkPin holds the root key against the link that the person was given.
func (c *claim) checkPin() error {
	if c.Pin == "" {
		return nil
	}
	sum := sha256.Sum256(c.Root)
	if c.Pin != base64.RawURLEncoding.EncodeToString(sum[:pinSize]) {
		return conclave.Problem{Code: "root_mismatch", Fix: "ask_link"}
	}
	return nil
}
