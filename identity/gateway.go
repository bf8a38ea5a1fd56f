package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/pass"
	"conclave/signal"
	"conclave/store"
)

// The phone gateway is a device of the organisation's, not of a person's: its statement (pass.KindGateway) lets it bring
// calls and is good for no leg. It is kept apart from people's devices, so that nothing which asks for a device finds it.

// CallLife is how long the statement of one call is good at most; its time limit ends it long before.
const CallLife = 12 * time.Hour

// Gateway is an enrolled phone gateway.
type Gateway struct {
	ID       conclave.DeviceID `json:"id"`
	Name     string            `json:"name"`
	LeafKey  []byte            `json:"leaf_key"`
	Enrolled time.Time         `json:"enrolled"`
	Until    time.Time         `json:"until"` // end of the last statement
	Revoked  *time.Time        `json:"revoked,omitempty"`
}

// storedGatewayToken is the entry of a one-time link for a gateway.
type storedGatewayToken struct {
	Hash    []byte     `json:"hash"`
	Name    string     `json:"name"`
	Expires time.Time  `json:"expires"`
	Used    *time.Time `json:"used,omitempty"`
}

func gatewayKey(id conclave.DeviceID) store.Key { return "gateway." + store.Key(id.Text()) }

func gatewayTokenKey(hash [sha256.Size]byte) store.Key {
	return "gatewaytoken." + store.Key(hex.EncodeToString(hash[:16]))
}

// IssueGatewayToken returns a fresh token with which one gateway may be enrolled within a day.
func (d *Directory) IssueGatewayToken(ctx context.Context, name string, rand io.Reader, now time.Time) (Token, error) {
	if !goodText(name) || name == "" {
		return Token{}, problem("device_name", "choose_other_name")
	}
	t, err := NewToken(rand)
	if err != nil {
		return Token{}, fmt.Errorf("identity: draw a token: %w", err)
	}
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindLinkIssued, Time: now.UTC(), Codes: []string{"gateway"}}); err != nil {
		return Token{}, err
	}
	hash := t.hash()
	return t, d.put(ctx, gatewayTokenKey(hash), storedGatewayToken{Hash: hash[:], Name: name, Expires: now.Add(tokenLife).UTC()})
}

// EnrolGateway uses up a token and returns the gateway's statement, encoded. proof is by the gateway's key over
// signal.GatewayEnrolContent.
func (d *Directory) EnrolGateway(ctx context.Context, t Token, leafKey, proof []byte, now time.Time) ([]byte, Gateway, error) {
	fail := func(err error) ([]byte, Gateway, error) { return nil, Gateway{}, err }
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), leafKey)
	if err != nil || !verify(key, signal.GatewayEnrolContent(t.Text()), proof) {
		return fail(problem("enrolment_proof", "ask_link"))
	}
	var stored storedGatewayToken
	hash := t.hash()
	revision, err := d.get(ctx, gatewayTokenKey(hash), &stored)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && subtle.ConstantTimeCompare(stored.Hash, hash[:]) != 1:
		return fail(problem("link_unknown", "ask_link"))
	case err != nil:
		return fail(err)
	case stored.Used != nil:
		return fail(problem("link_used", "ask_link"))
	case !now.Before(stored.Expires):
		return fail(problem("link_expired", "ask_link"))
	}
	used := now.UTC()
	g := Gateway{ID: conclave.DeviceOf(leafKey), Name: stored.Name, LeafKey: leafKey, Enrolled: used, Until: now.Add(statementLife).UTC()}
	var statement []byte
	rec := audit.Record{Kind: audit.KindEnrolment, Time: used, Device: g.ID, Codes: []string{"gateway"}}
	err = d.recorded(ctx, rec, func() error {
		stored.Used = &used
		if err := d.putOver(ctx, gatewayTokenKey(hash), stored, revision); errors.Is(err, store.ErrConflict) {
			return problem("link_used", "ask_link")
		} else if err != nil {
			return err
		}
		if statement, err = d.signGateway(ctx, &g, now); err != nil {
			return err
		}
		b, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		if _, err := d.store.Create(ctx, gatewayKey(g.ID), b); errors.Is(err, store.ErrConflict) {
			return problem("device_known", "open_without_link")
		} else if err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return statement, g, nil
}

// Gateway returns an enrolled gateway that is not revoked, or a Problem.
func (d *Directory) Gateway(ctx context.Context, id conclave.DeviceID) (Gateway, error) {
	g, _, err := d.gateway(ctx, id)
	return g, err
}

func (d *Directory) gateway(ctx context.Context, id conclave.DeviceID) (Gateway, store.Revision, error) {
	var g Gateway
	revision, err := d.get(ctx, gatewayKey(id), &g)
	if errors.Is(err, store.ErrNotFound) {
		return g, 0, problem("device_unknown", "enrol_again")
	}
	if err == nil && g.Revoked != nil {
		return g, 0, problem("device_revoked", "ask_administrator")
	}
	return g, revision, err
}

// RenewGateway returns a fresh statement for a gateway that has proven its key; nil where the old holds long enough.
func (d *Directory) RenewGateway(ctx context.Context, id conclave.DeviceID, now time.Time) ([]byte, error) {
	g, revision, err := d.gateway(ctx, id)
	if err != nil {
		return nil, err
	}
	if g.Until.Sub(now) > statementLife/2 {
		return nil, nil
	}
	if now.After(g.Until.Add(renewalGrace)) {
		return nil, problem("device_lapsed", "enrol_again")
	}
	var statement []byte
	err = d.recorded(ctx, audit.Record{Kind: audit.KindRenewal, Time: now.UTC(), Device: g.ID, Codes: []string{"gateway"}}, func() error {
		if statement, err = d.signGateway(ctx, &g, now); err != nil {
			return err
		}
		g.Until = now.Add(statementLife).UTC()
		return d.putGateway(ctx, g, revision)
	})
	return statement, err
}

// RevokeGateway makes a gateway useless from the next call on. Its living calls are the caller's to end.
func (d *Directory) RevokeGateway(ctx context.Context, id conclave.DeviceID, now time.Time) error {
	g, revision, err := d.gateway(ctx, id)
	if err != nil {
		return err
	}
	at := now.UTC()
	g.Revoked = &at
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindDeviceRevoked, Time: at, Device: id, Codes: []string{"gateway"}}); err != nil {
		return err
	}
	return d.putGateway(ctx, g, revision)
}

func (d *Directory) putGateway(ctx context.Context, g Gateway, revision store.Revision) error {
	b, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if _, err := d.store.CompareAndPut(ctx, gatewayKey(g.ID), b, revision); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

func (d *Directory) signGateway(ctx context.Context, g *Gateway, now time.Time) ([]byte, error) {
	statement, err := pass.SignStatement(d.organisation.enrolment, &pass.Statement{
		Organisation: d.organisation.ID, Person: conclave.PersonID("gateway." + g.ID.Text()[:16]), Name: g.Name, LeafKey: g.LeafKey,
		Kind: pass.KindGateway, NotBefore: now, NotAfter: now.Add(statementLife),
	})
	if err != nil {
		return nil, fmt.Errorf("identity: sign statement: %w", err)
	}
	return statement, d.logged(ctx, conclave.PersonID("gateway."+g.ID.Text()[:16]), g.ID, statement)
}

// SignCall returns the statement of one call: its person, its gateway, and a key that is for this call alone.
func (d *Directory) SignCall(ctx context.Context, person conclave.PersonID, leafKey []byte, gateway conclave.DeviceID, now time.Time) ([]byte, error) {
	p, err := d.active(ctx, person)
	if err != nil {
		return nil, err
	}
	statement, err := pass.SignStatement(d.organisation.enrolment, &pass.Statement{
		Organisation: d.organisation.ID, Person: p.ID, Name: p.Name, Unit: p.Unit, LeafKey: leafKey, Kind: pass.KindPhone, Gateway: gateway,
		NotBefore: now, NotAfter: now.Add(CallLife),
	})
	if err != nil {
		return nil, fmt.Errorf("identity: sign statement: %w", err)
	}
	// A call's key is no exception: who could hear the room stands in the log that everybody watches.
	return statement, d.logged(ctx, p.ID, conclave.DeviceOf(leafKey), statement)
}
