package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/signal"
	"conclave/store"
)

// invitationLife bounds how long a guest's invitation and device are good: a meeting that lasts longer invites anew.
const invitationLife = 7 * 24 * time.Hour

// guestPrefix opens the ids of people who stand in no directory.
const guestPrefix = "guest."

// Guest is what a guest's device is bound to.
type Guest struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Name    string             `json:"name"` // as the invitation says
	Unit    string             `json:"unit"`
	By      Inviter            `json:"by,omitempty"` // "" for invitations from before it was kept
	Until   time.Time          `json:"until"`
}

// storedInvitation is the entry of a guest's one-time invitation.
type storedInvitation struct {
	storedToken
	Guest Guest `json:"guest"`
}

func invitationKey(hash [sha256.Size]byte) store.Key {
	return "invitation." + store.Key(hex.EncodeToString(hash[:16]))
}

// Inviter says who asked for an invitation. Its record says it in Codes, and which person in People, its personal part.
type Inviter string

// Who asks for invitations.
const (
	InviterAdministrator Inviter = "administrator" // on their own account
	InviterChair         Inviter = "chair"
	InviterPerson        Inviter = "person" // anybody else of the directory
)

// Invite is InviteFor on the administrator's own account.
func (d *Directory) Invite(ctx context.Context, meeting conclave.MeetingID, name, unit string, rand io.Reader, now time.Time) (Token, error) {
	return d.InviteFor(ctx, "", meeting, name, unit, rand, now)
}

// InviteFor returns a fresh one-time invitation for somebody outside the directory, to one meeting that is not over. name and
// unit are what the room will see. by asked the administrator for it, "" for nobody: the record alone says who it was.
func (d *Directory) InviteFor(ctx context.Context, by conclave.PersonID, meeting conclave.MeetingID, name, unit string, rand io.Reader, now time.Time) (Token, error) {
	if !goodText(name) || strings.TrimSpace(name) == "" || !goodText(unit) {
		return Token{}, problem("person_name", "choose_other_name")
	}
	m, err := d.Meeting(ctx, meeting)
	if err != nil {
		return Token{}, err
	}
	until := now.Add(invitationLife)
	if m.Ended != nil || !now.Before(m.Until) {
		return Token{}, problem("meeting_over", "ask_chair_for_meeting")
	}
	if m.Until.Before(until) {
		until = m.Until
	}
	rec := audit.Record{Kind: audit.KindInvitation, Time: now.UTC(), Meeting: meeting, Until: until.UTC()}
	inviter := InviterAdministrator
	if by != "" {
		if _, err := d.active(ctx, by); err != nil {
			return Token{}, err
		}
		rec.People, inviter = []conclave.PersonID{by}, InviterPerson
		if m.Chair == by {
			inviter = InviterChair
		}
	}
	rec.Codes = []string{string(inviter)}
	t, err := NewToken(rand)
	if err != nil {
		return Token{}, fmt.Errorf("identity: draw a token: %w", err)
	}
	hash := t.hash()
	rec.Person = guestID(hash)
	if _, err := d.record.Record(ctx, rec); err != nil {
		return Token{}, err
	}
	return t, d.put(ctx, invitationKey(hash), storedInvitation{
		storedToken: storedToken{Hash: hash[:], Expires: until.UTC()},
		Guest:       Guest{Meeting: meeting, Name: name, Unit: unit, By: inviter, Until: until.UTC()},
	})
}

// InvitationHolder returns the id that the guest of an invitation has or would have, "" where there is no such invitation.
func (d *Directory) InvitationHolder(ctx context.Context, t Token) (conclave.PersonID, error) {
	var stored storedInvitation
	hash := t.hash()
	_, err := d.get(ctx, invitationKey(hash), &stored)
	if errors.Is(err, store.ErrNotFound) || err == nil && subtle.ConstantTimeCompare(stored.Hash, hash[:]) != 1 {
		return "", nil
	}
	return guestID(hash), err
}

// GuestOf is the id of the guest whose invitation has a hash, "" where that is none.
func GuestOf(hash []byte) conclave.PersonID {
	if len(hash) != sha256.Size {
		return ""
	}
	return guestID([sha256.Size]byte(hash))
}

// IsGuest says whether an id is a guest's.
func IsGuest(id conclave.PersonID) bool { return strings.HasPrefix(string(id), guestPrefix) }

// guestID is by what a guest is known: their invitation alone says who they are.
func guestID(hash [sha256.Size]byte) conclave.PersonID {
	return conclave.PersonID(guestPrefix + hex.EncodeToString(hash[16:24]))
}

// EnrolGuest uses up an invitation to meeting and returns the statement of the guest's device, encoded. Of e, Passkey and
// Chain do not matter: an invitation is all that vouches for a guest.
func (d *Directory) EnrolGuest(ctx context.Context, e Enrolment, meeting conclave.MeetingID, now time.Time) ([]byte, Device, error) {
	fail := func(err error) ([]byte, Device, error) { return nil, Device{}, err }
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), e.LeafKey)
	if err != nil || !verify(key, signal.EnrolContent(e.Token.Text()), e.Proof) {
		return fail(problem("enrolment_proof", "try_other_browser"))
	}
	var stored storedInvitation
	hash := e.Token.hash()
	revision, err := d.get(ctx, invitationKey(hash), &stored)
	switch {
	case errors.Is(err, store.ErrNotFound),
		err == nil && subtle.ConstantTimeCompare(stored.Hash, hash[:]) != 1,
		err == nil && stored.Guest.Meeting != meeting: // another meeting's is told nothing of
		return fail(problem("invitation_unknown", "ask_invitation"))
	case err != nil:
		return fail(err)
	case stored.Used != nil:
		return fail(problem("invitation_used", "ask_invitation"))
	case !now.Before(stored.Expires):
		return fail(problem("invitation_expired", "ask_invitation"))
	}
	device := Device{ID: conclave.DeviceOf(e.LeafKey), Person: guestID(hash),
		LeafKey: e.LeafKey, Assurance: conclave.AssuranceGuest, Enrolled: now.UTC(), Link: &LinkKind{By: SourceInvitation}, Guest: &stored.Guest}
	device.Until = d.until(&device, now).UTC()
	person, err := d.guest(ctx, &device, now)
	if err != nil {
		return fail(err)
	}
	var statement []byte
	err = d.recorded(ctx, audit.Record{Kind: audit.KindEnrolment, Time: now.UTC(), Meeting: meeting, Device: device.ID, Person: device.Person}, func() error {
		if statement, err = d.sign(ctx, person, &device, now); err != nil {
			return err
		}
		used := now.UTC()
		stored.Used = &used
		if err := d.putOver(ctx, invitationKey(hash), stored, revision); errors.Is(err, store.ErrConflict) {
			return problem("invitation_used", "ask_invitation")
		} else if err != nil {
			return err
		}
		return d.enter(ctx, &device)
	})
	if err != nil {
		return fail(err)
	}
	return statement, device, nil
}

// guest returns the person that a guest's statement names, while the invitation holds and the meeting is not over.
func (d *Directory) guest(ctx context.Context, device *Device, now time.Time) (Person, error) {
	g := device.Guest
	if !now.Before(g.Until) {
		return Person{}, problem("invitation_expired", "ask_invitation")
	}
	m, err := d.Meeting(ctx, g.Meeting)
	if err != nil {
		return Person{}, err
	}
	if m.Ended != nil {
		return Person{}, problem("meeting_over", "ask_chair_for_meeting")
	}
	return Person{ID: device.Person, Name: g.Name, Unit: g.Unit}, nil
}
