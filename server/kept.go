package server

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
	"conclave/identity"
	"conclave/server/reply"
	"conclave/store"
)

// What the store holds, in one list: for each word that opens keys whether it is anybody's, and how what is a person's is
// found. The store refuses words that do not stand here (listed), so that a new one cannot be forgotten when a person is
// given all that is kept on them.

// keptWord is one kind of values of the store, or a stream of it.
type keptWord struct {
	word string
	// find adds what is a person's. nil: nothing under this word is about a person, as none says, or others give it: as elsewhere says.
	find            func(context.Context, *Server, *keptQuestion) ([]Kept, error)
	none, elsewhere string
}

// Kept is one thing that is kept on a person.
type Kept struct {
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

// keptQuestion is whom it is about: a person, with devices and legs that the records name.
type keptQuestion struct {
	person  conclave.PersonID
	whole   bool // what is kept by person, too
	devices []conclave.DeviceID
	legs    []keptLeg
}

type keptLeg struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Leg     conclave.LegID     `json:"leg"`
}

// keptWords is the list.
var keptWords = []keptWord{
	{word: "person", elsewhere: "GET /people/{person}"},
	{word: "device", find: keptGuestDevices, elsewhere: "GET /people/{person}, but for guests, who stand in no directory"},
	{word: "meeting", elsewhere: "GET /meetings"},
	{word: "token", find: keptByPerson("token", "hash")},
	{word: "phonecode", find: keptByPerson("phonecode", "hash", "salt")},
	{word: "invitation", find: keptInvitations},
	{word: tripPrefix, find: keptByPerson(tripPrefix)},
	{word: "notice", find: keptNotices},
	{word: "devicenotice", find: keptByDevice("devicenotice")},
	{word: historyPrefix, find: keptByDevice(historyPrefix)},
	{word: ledgerPrefix, find: keptLedgers},
	{word: markPrefix, find: keptMarks},
	{word: roomPrefix, find: keptInRoom(roomPrefix)},
	{word: "group", find: keptInRoom("group")},
	{word: "pending", find: keptInRoom("pending")},
	{word: "commit", find: keptInRoom("commit")},
	{word: "gateway", none: "a device of the organisation's"},
	{word: "gatewaytoken", none: "a link for such a device"},
	{word: "devicelog", none: "a signature over the device log"},
	{word: historyKey, none: "a key of the server's"},
	{word: "keys", none: "a digest of the organisation's keys"},
	{word: "retention", none: "a setting"},
	{word: "ended", none: "how the server ended last"},
	{word: "audit", none: "a signature over the log, and numbers of records that are being erased"},
	{word: string(store.Audit), elsewhere: "the copy of the log"},
	{word: string(store.Devices), elsewhere: "the copy of the device log"},
}

// listed is a store that keeps only what stands in keptWords.
type listed struct{ store.Store }

func (l listed) check(word string) error {
	word, _, _ = strings.Cut(word, ".")
	if !slices.ContainsFunc(keptWords, func(k keptWord) bool { return k.word == word }) {
		return fmt.Errorf("server: nothing says what %q holds of people: it is not kept", word)
	}
	return nil
}

func (l listed) Create(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	if err := l.check(string(key)); err != nil {
		return 0, err
	}
	return l.Store.Create(ctx, key, value)
}

func (l listed) Put(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	if err := l.check(string(key)); err != nil {
		return 0, err
	}
	return l.Store.Put(ctx, key, value)
}

func (l listed) CompareAndPut(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	if err := l.check(string(key)); err != nil {
		return 0, err
	}
	return l.Store.CompareAndPut(ctx, key, value, revision)
}

func (l listed) Append(ctx context.Context, stream store.Stream, record []byte) (store.Sequence, error) {
	if err := l.check(string(stream)); err != nil {
		return 0, err
	}
	return l.Store.Append(ctx, stream, record)
}

// content reads a value's JSON without its secrets.
func content(value []byte, but ...string) (any, error) {
	var all map[string]any
	if err := json.Unmarshal(value, &all); err != nil {
		return nil, errors.New("server: a stored value cannot be read")
	}
	for _, name := range but {
		delete(all, name)
	}
	return all, nil
}

func kept(word string, e *store.Entry) Kept {
	return Kept{Kind: word, Written: e.Written.UTC(), Octets: len(e.Value)}
}

// keptByPerson finds values that name their person. But for the secrets they are given.
func keptByPerson(word string, but ...string) func(context.Context, *Server, *keptQuestion) ([]Kept, error) {
	return func(ctx context.Context, s *Server, q *keptQuestion) (out []Kept, err error) {
		if !q.whole {
			return nil, nil
		}
		entries, err := s.cfg.Store.List(ctx, store.Key(word))
		for i := range entries {
			var whose struct {
				Person conclave.PersonID `json:"person"`
			}
			if json.Unmarshal(entries[i].Value, &whose) != nil || whose.Person != q.person {
				continue
			}
			k := kept(word, &entries[i])
			if k.Content, err = content(entries[i].Value, but...); err != nil {
				return nil, err
			}
			out = append(out, k)
		}
		return out, err
	}
}

// keptByDevice finds values that stand under a device's id.
func keptByDevice(word string) func(context.Context, *Server, *keptQuestion) ([]Kept, error) {
	return func(ctx context.Context, s *Server, q *keptQuestion) (out []Kept, err error) {
		for _, d := range q.devices {
			prefix := store.Key(word + "." + d.Text())
			entries, err := s.cfg.Store.List(ctx, prefix)
			if err != nil {
				return nil, err
			}
			if e, err := s.cfg.Store.Get(ctx, prefix); err == nil {
				entries = append(entries, e)
			} else if !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			for i := range entries {
				k := kept(word, &entries[i])
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

func keptNotices(ctx context.Context, s *Server, q *keptQuestion) ([]Kept, error) {
	if !q.whole {
		return nil, nil
	}
	e, err := s.cfg.Store.Get(ctx, noticeKey(q.person))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := kept("notice", &e)
	if err := json.Unmarshal(e.Value, &k.Content); err != nil {
		return nil, errors.New("server: a stored value cannot be read")
	}
	return []Kept{k}, nil
}

// keptInvitations finds a guest's own, and those to meetings that a person chairs: of these the guest's name is not theirs to get.
func keptInvitations(ctx context.Context, s *Server, q *keptQuestion) (out []Kept, err error) {
	if !q.whole {
		return nil, nil
	}
	entries, err := s.cfg.Store.List(ctx, "invitation")
	for i := range entries {
		var invited struct {
			Hash    []byte         `json:"hash"`
			Expires time.Time      `json:"expires"`
			Used    *time.Time     `json:"used,omitempty"`
			Guest   identity.Guest `json:"guest"`
		}
		if err := json.Unmarshal(entries[i].Value, &invited); err != nil {
			return nil, errors.New("server: an invitation cannot be read")
		}
		k := kept("invitation", &entries[i])
		k.Meeting = invited.Guest.Meeting.Text()
		said := map[string]any{"expires": invited.Expires, "used": invited.Used}
		if identity.GuestOf(invited.Hash) == q.person {
			said["name"], said["unit"], said["by"] = invited.Guest.Name, invited.Guest.Unit, invited.Guest.By
		} else if m, err := s.directory.Meeting(ctx, invited.Guest.Meeting); err != nil || m.Chair != q.person {
			continue
		}
		k.Content = said
		out = append(out, k)
	}
	return out, err
}

// keptGuestDevices finds the devices of a guest.
func keptGuestDevices(ctx context.Context, s *Server, q *keptQuestion) (out []Kept, err error) {
	if !q.whole || !identity.IsGuest(q.person) {
		return nil, nil
	}
	devices, err := s.directory.Devices(ctx, q.person)
	for i := range devices {
		d := &devices[i]
		out = append(out, Kept{Kind: "device", Written: d.Enrolled, Device: d.ID.Text(), Meeting: d.Guest.Meeting.Text(),
			Content: map[string]any{"name": d.Guest.Name, "unit": d.Guest.Unit, "by": d.Guest.By, "enrolled": d.Enrolled, "until": d.Until, "revoked": d.Revoked}})
	}
	return out, err
}

// keptLedgers finds the sealed minutes of legs: that they are there, not what they say.
func keptLedgers(ctx context.Context, s *Server, q *keptQuestion) (out []Kept, err error) {
	for _, l := range q.legs {
		entries, err := s.cfg.Store.List(ctx, store.Key(ledgerPrefix+"."+l.Meeting.Text()+"."+l.Leg.Text()))
		if err != nil {
			return nil, err
		}
		for i := range entries {
			k := kept(ledgerPrefix, &entries[i])
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

// keptMarks finds the sealed keys of legs' marks.
func keptMarks(ctx context.Context, s *Server, q *keptQuestion) (out []Kept, err error) {
	for _, l := range q.legs {
		e, err := s.cfg.Store.Get(ctx, markKey(l.Meeting, l.Leg))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		k := kept(markPrefix, &e)
		k.Meeting, k.Leg = l.Meeting.Text(), l.Leg.Text()
		out = append(out, k)
	}
	return out, nil
}

// keptInRoom finds what rooms keep while they run: who is in, and the leaves of the group. Both hold others too: that a
// person stands in it is told, and where.
func keptInRoom(word string) func(context.Context, *Server, *keptQuestion) ([]Kept, error) {
	return func(ctx context.Context, s *Server, q *keptQuestion) (out []Kept, err error) {
		needles, err := q.needles(ctx, s)
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
			entries, err := s.cfg.Store.List(ctx, key)
			if err != nil {
				return nil, err
			}
			if e, err := s.cfg.Store.Get(ctx, key); err == nil {
				entries = append(entries, e)
			} else if !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			for i := range entries {
				if !mentions(entries[i].Value, needles) {
					continue
				}
				k := kept(word, &entries[i])
				k.Meeting = l.Meeting.Text()
				out = append(out, k)
			}
		}
		return out, nil
	}
}

// needles are by what a person is found in what holds many: their id, and their devices and keys.
func (q *keptQuestion) needles(ctx context.Context, s *Server) ([][]byte, error) {
	out := [][]byte{[]byte(q.person)}
	for _, id := range q.devices {
		out = append(out, []byte(id.Text()), id[:])
		device, err := s.directory.KnownDevice(ctx, id)
		if known, err := found(err); err != nil {
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
func (s *Server) serveKept(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Whole   bool                `json:"whole"` // what is kept by person, too: asked once
		Devices []conclave.DeviceID `json:"devices"`
		Legs    []keptLeg           `json:"legs"`
	}
	err := reply.Read(w, r, &m)
	q := &keptQuestion{person: conclave.PersonID(r.PathValue("person")), whole: m.Whole, devices: m.Devices, legs: m.Legs}
	all := []Kept{}
	for _, word := range keptWords {
		if err != nil {
			break
		}
		if word.find == nil {
			continue
		}
		var some []Kept
		if some, err = word.find(r.Context(), s, q); err == nil {
			all = append(all, some...)
		}
	}
	if err != nil {
		s.fail(w, "collect what is kept on a person", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Kept []Kept `json:"kept"`
	}{all})
}
