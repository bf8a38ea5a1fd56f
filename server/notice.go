package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/pass"
	"conclave/signal"
	"conclave/store"
)

// Notices reach a person on their own devices: at once where one is connected, and at each hello until the person has read
// them. What was only sent may have been lost with its connection, or shown on a screen that nobody looked at.

const (
	// The first word of a notice's id says where it is kept: with a device, or with the person.
	deviceNotice = "device."
	personNotice = "person."

	maxNotices = 8 // that wait for a person; the oldest is dropped
	noticeLife = 7 * 24 * time.Hour
)

type storedNotice struct {
	ID     string        `json:"id"`
	At     time.Time     `json:"at"`
	Notice signal.Notice `json:"notice"`
}

func noticeKey(id conclave.PersonID) store.Key { return "notice." + store.Key(id) }

// notify tells a person something. Errors are logged: a notice holds nothing up.
func (s *Server) notify(ctx context.Context, person conclave.PersonID, m *signal.Notice) {
	id := make([]byte, 8)
	if _, err := io.ReadFull(s.cfg.Rand, id); err != nil {
		panic("server: no randomness: " + err.Error())
	}
	told := *m
	told.ID = personNotice + hex.EncodeToString(id)
	s.changeNotices(ctx, person, func(list []storedNotice) []storedNotice {
		list = append(list, storedNotice{told.ID, s.now(), told})
		return list[max(0, len(list)-maxNotices):]
	})
	s.notifyNow(person, &told)
}

// read takes off a notice that a person has read on a device.
func (s *Server) read(ctx context.Context, person conclave.PersonID, device conclave.DeviceID, id string) {
	if own, ok := strings.CutPrefix(id, deviceNotice); ok {
		if _, err := hex.DecodeString(own); err != nil || own == "" {
			return
		}
		if err := s.directory.Seen(ctx, device, own); err != nil {
			s.cfg.Log.Error("notice not taken off", "device", device, "cause", err)
		}
		return
	}
	s.changeNotices(ctx, person, func(list []storedNotice) []storedNotice {
		return slices.DeleteFunc(list, func(n storedNotice) bool { return n.ID == id })
	})
}

// changeNotices changes what waits for a person.
func (s *Server) changeNotices(ctx context.Context, person conclave.PersonID, change func([]storedNotice) []storedNotice) {
	ctx = context.WithoutCancel(ctx)
	for range 4 { // somebody else may write at the same moment
		list, revision, err := s.storedNotices(ctx, person)
		if err != nil {
			s.cfg.Log.Error("notice not kept", "person", person, "cause", err)
			return
		}
		before := len(list)
		list = slices.DeleteFunc(list, func(n storedNotice) bool { return s.now().Sub(n.At) >= noticeLife })
		kept := slices.Clone(list)
		if list = change(list); before == len(kept) && slices.EqualFunc(list, kept, func(a, b storedNotice) bool { return a.ID == b.ID }) {
			return // nothing is different: nothing is written
		}
		b, err := json.Marshal(list)
		if err != nil {
			panic("server: notice: " + err.Error())
		}
		if revision == 0 {
			_, err = s.cfg.Store.Create(ctx, noticeKey(person), b)
		} else {
			_, err = s.cfg.Store.CompareAndPut(ctx, noticeKey(person), b, revision)
		}
		if !errors.Is(err, store.ErrConflict) {
			if err != nil {
				s.cfg.Log.Error("notice not kept", "person", person, "cause", err)
			}
			return
		}
	}
}

func (s *Server) storedNotices(ctx context.Context, person conclave.PersonID) ([]storedNotice, store.Revision, error) {
	e, err := s.cfg.Store.Get(ctx, noticeKey(person))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var list []storedNotice
	if err := json.Unmarshal(e.Value, &list); err != nil {
		return nil, 0, err
	}
	return list, e.Revision, nil
}

// notifyNow tells a person's devices that are in a room now.
func (s *Server) notifyNow(person conclave.PersonID, m *signal.Notice) {
	frame := signal.Encode(m)
	for _, r := range s.running() {
		r.ask(func() {
			for _, seat := range r.seats {
				if seat.asker.statement.Person == person && seat.asker.statement.Kind == pass.KindDevice {
					seat.conn.sendFrame(frame)
				}
			}
		})
	}
}

// tellNotices hands a person who has just proven their device what waits for them.
func (s *Server) tellNotices(ctx context.Context, person conclave.PersonID, c *conn) {
	list, _, err := s.storedNotices(ctx, person)
	if err != nil || len(list) == 0 {
		return
	}
	for i := range list {
		if s.now().Sub(list[i].At) < noticeLife {
			c.send(&list[i].Notice)
		}
	}
}
