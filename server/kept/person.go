package kept

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/reply"
	"conclave/store"
)

// Item is one thing that is kept on a person.
type Item struct {
	Kind    string    `json:"kind"` // the word in the store
	Written time.Time `json:"written,omitzero"`
	Meeting string    `json:"meeting,omitempty"`
	Leg     string    `json:"leg,omitempty"`
	Device  string    `json:"device,omitempty"`
	Minute  *uint32   `json:"minute,omitempty"` // of a leg's ledger
	Octets  int       `json:"octets"`
	// Content is what it says; null where it is sealed, so that the server cannot read it, or holds others' data too.
	Content any `json:"content,omitempty"`
}

// question is whom it is about: a person, with devices and legs that the records name.
type question struct {
	person  conclave.PersonID
	whole   bool // what is kept by person, too
	devices []conclave.DeviceID
	legs    []legAt
}

type legAt struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Leg     conclave.LegID     `json:"leg"`
}

// content reads a value's JSON without its secrets.
func content(value []byte, but ...string) (any, error) {
	var all map[string]any
	if err := json.Unmarshal(value, &all); err != nil {
		return nil, errors.New("kept: a stored value cannot be read")
	}
	for _, name := range but {
		delete(all, name)
	}
	return all, nil
}

func itemOf(word string, e *store.Entry) Item {
	return Item{Kind: word, Written: e.Written.UTC(), Octets: len(e.Value)}
}

// byPerson finds values that name their person. But for the secrets they are given.
func byPerson(word string, but ...string) func(context.Context, *Archive, *question) ([]Item, error) {
	return func(ctx context.Context, a *Archive, q *question) (out []Item, err error) {
		if !q.whole {
			return nil, nil
		}
		entries, err := a.Store.List(ctx, store.Key(word))
		for i := range entries {
			var whose struct {
				Person conclave.PersonID `json:"person"`
			}
			if json.Unmarshal(entries[i].Value, &whose) != nil || whose.Person != q.person {
				continue
			}
			k := itemOf(word, &entries[i])
			if k.Content, err = content(entries[i].Value, but...); err != nil {
				return nil, err
			}
			out = append(out, k)
		}
		return out, err
	}
}

// byDevice finds values that stand under a device's id.
func byDevice(word string) func(context.Context, *Archive, *question) ([]Item, error) {
	return func(ctx context.Context, a *Archive, q *question) (out []Item, err error) {
		for _, d := range q.devices {
			prefix := store.Key(word + "." + d.Text())
			entries, err := a.Store.List(ctx, prefix)
			if err != nil {
				return nil, err
			}
			if e, err := a.Store.Get(ctx, prefix); err == nil {
				entries = append(entries, e)
			} else if !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			for i := range entries {
				k := itemOf(word, &entries[i])
				k.Device = d.Text()
				if k.Content, err = content(entries[i].Value); err != nil {
					return nil, err
				}
				out = append(out, k)
			}
		}
		return out, nil
	}
}

func notices(ctx context.Context, a *Archive, q *question) ([]Item, error) {
	if !q.whole {
		return nil, nil
	}
	e, err := a.Store.Get(ctx, store.Key("notice."+q.person))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := itemOf("notice", &e)
	if err := json.Unmarshal(e.Value, &k.Content); err != nil {
		return nil, errors.New("kept: a stored value cannot be read")
	}
	return []Item{k}, nil
}

// invitations finds a guest's own, and those to meetings that a person chairs: of these the guest's name is not theirs to get.
func invitations(ctx context.Context, a *Archive, q *question) (out []Item, err error) {
	if !q.whole {
		return nil, nil
	}
	entries, err := a.Store.List(ctx, "invitation")
	for i := range entries {
		var invited struct {
			Hash    []byte         `json:"hash"`
			Expires time.Time      `json:"expires"`
			Used    *time.Time     `json:"used,omitempty"`
			Guest   identity.Guest `json:"guest"`
		}
		if err := json.Unmarshal(entries[i].Value, &invited); err != nil {
			return nil, errors.New("kept: an invitation cannot be read")
		}
		k := itemOf("invitation", &entries[i])
		k.Meeting = invited.Guest.Meeting.Text()
		said := map[string]any{"expires": invited.Expires, "used": invited.Used}
		if identity.GuestOf(invited.Hash) == q.person {
			said["name"], said["unit"], said["by"] = invited.Guest.Name, invited.Guest.Unit, invited.Guest.By
		} else if m, err := a.Directory.Meeting(ctx, invited.Guest.Meeting); err != nil || m.Chair != q.person {
			continue
		}
		k.Content = said
		out = append(out, k)
	}
	return out, err
}

// guestDevices finds the devices of a guest.
func guestDevices(ctx context.Context, a *Archive, q *question) (out []Item, err error) {
	if !q.whole || !identity.IsGuest(q.person) {
		return nil, nil
	}
	devices, err := a.Directory.Devices(ctx, q.person)
	for i := range devices {
		d := &devices[i]
		out = append(out, Item{Kind: "device", Written: d.Enrolled, Device: d.ID.Text(), Meeting: d.Guest.Meeting.Text(),
			Content: map[string]any{"name": d.Guest.Name, "unit": d.Guest.Unit, "by": d.Guest.By, "enrolled": d.Enrolled, "until": d.Until, "revoked": d.Revoked}})
	}
	return out, err
}

// ledgersOf finds the sealed minutes of legs: that they are there, not what they say.
func ledgersOf(ctx context.Context, a *Archive, q *question) (out []Item, err error) {
	for _, l := range q.legs {
		entries, err := a.Store.List(ctx, store.Key(ledgerPrefix+"."+l.Meeting.Text()+"."+l.Leg.Text()))
		if err != nil {
			return nil, err
		}
		for i := range entries {
			k := itemOf(ledgerPrefix, &entries[i])
			k.Meeting, k.Leg = l.Meeting.Text(), l.Leg.Text()
			var minute uint32
			if _, err := fmt.Sscanf(string(entries[i].Key[strings.LastIndexByte(string(entries[i].Key), '.')+1:]), "%d", &minute); err == nil {
				k.Minute = &minute
			}
			out = append(out, k)
		}
	}
	return out, nil
}

// marksOf finds the sealed keys of legs' marks.
func marksOf(ctx context.Context, a *Archive, q *question) (out []Item, err error) {
	for _, l := range q.legs {
		e, err := a.Store.Get(ctx, markKey(l.Meeting, l.Leg))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		k := itemOf(markPrefix, &e)
		k.Meeting, k.Leg = l.Meeting.Text(), l.Leg.Text()
		out = append(out, k)
	}
	return out, nil
}

// inRoom finds what rooms keep while they run: who is in, and the leaves of the group. Both hold others too: that a
// person stands in it is told, and where.
func inRoom(word string) func(context.Context, *Archive, *question) ([]Item, error) {
	return func(ctx context.Context, a *Archive, q *question) (out []Item, err error) {
		needles, err := q.needles(ctx, a)
		if err != nil {
			return nil, err
		}
		seen := map[conclave.MeetingID]bool{}
		for _, l := range q.legs {
			if seen[l.Meeting] {
				continue
			}
			seen[l.Meeting] = true
			key := store.Key(word + "." + l.Meeting.Text())
			entries, err := a.Store.List(ctx, key)
			if err != nil {
				return nil, err
			}
			if e, err := a.Store.Get(ctx, key); err == nil {
				entries = append(entries, e)
			} else if !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			for i := range entries {
				if !mentions(entries[i].Value, needles) {
					continue
				}
				k := itemOf(word, &entries[i])
				k.Meeting = l.Meeting.Text()
				out = append(out, k)
			}
		}
		return out, nil
	}
}

// needles are by what a person is found in what holds many: their id, and their devices and keys.
func (q *question) needles(ctx context.Context, a *Archive) ([][]byte, error) {
	out := [][]byte{[]byte(q.person)}
	for _, id := range q.devices {
		out = append(out, []byte(id.Text()), id[:])
		device, err := a.Directory.KnownDevice(ctx, id)
		if known, err := identity.Found(err); err != nil {
			return nil, err
		} else if known {
			out = append(out, device.LeafKey)
		}
	}
	return out, nil
}

// mentions says whether JSON holds one of needles, in its text or in what it encodes in base64.
func mentions(value []byte, needles [][]byte) bool {
	holds := func(b []byte) bool {
		return slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(b, n) })
	}
	if holds(value) {
		return true
	}
	for text := range bytes.SplitSeq(value, []byte{'"'}) {
		if b, err := base64.StdEncoding.DecodeString(string(text)); err == nil && holds(b) {
			return true
		}
	}
	return false
}

// serveKept is POST /people/{person}/kept: what the store holds of a person, beside what other requests give. The legs come from
// the records, which the asker has read.
func (a *Archive) serveKept(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Whole   bool                `json:"whole"` // what is kept by person, too: asked once
		Devices []conclave.DeviceID `json:"devices"`
		Legs    []legAt             `json:"legs"`
	}
	err := reply.Read(w, r, &m)
	q := &question{person: conclave.PersonID(r.PathValue("person")), whole: m.Whole, devices: m.Devices, legs: m.Legs}
	all := []Item{}
	for _, word := range kinds {
		if err != nil {
			break
		}
		if word.find == nil {
			continue
		}
		var some []Item
		if some, err = word.find(r.Context(), a, q); err == nil {
			all = append(all, some...)
		}
	}
	if err != nil {
		a.fail(w, "collect what is kept on a person", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Kept []Item `json:"kept"`
	}{all})
}

// recordExport writes into the log that a person is given all that is kept on them, before they are.
func (a *Archive) recordExport(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Person  conclave.PersonID `json:"person"`
		Records uint64            `json:"records"`
	}
	err := reply.Read(w, r, &m)
	var index audit.Index
	if err == nil {
		index, err = a.Audit.Record(r.Context(), audit.Record{Kind: audit.KindExport, Time: a.now(), Person: m.Person, Size: m.Records})
	}
	if err != nil {
		a.fail(w, "record an export", err)
		return
	}
	setting, err := a.retention(r.Context())
	if err != nil {
		a.fail(w, "record an export", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Record       audit.Index `json:"record"`
		Retention    periods     `json:"retention"`
		Organisation string      `json:"organisation"`
	}{index, setting, a.Organisation.Name})
}
