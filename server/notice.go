package server

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"conclave"
	"conclave/pass"
	"conclave/signal"
	"conclave/store"
)

// Notices reach a person on their own devices: at once where one is connected, and at the next hello where none is.

const (
	maxNotices = 8 // that wait for a person; the oldest is dropped
	noticeLife = 7 * 24 * time.Hour
)

type storedNotice struct {
	At     time.Time     `json:"at"`
	Notice signal.Notice `json:"notice"`
}

func noticeKey(id conclave.PersonID) store.Key { return "notice." + store.Key(id) }

// notify tells a person something. Errors are logged: a notice holds nothing up.
func (s *Server) notify(ctx context.Context, person conclave.PersonID, m *signal.Notice) {
	if s.notifyNow(person, m) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	for range 4 { // somebody else may write at the same moment
		list, revision, err := s.storedNotices(ctx, person)
		if err != nil {
			s.cfg.Log.Error("notice not kept", "person", person, "cause", err)
			return
		}
		list = append(list, storedNotice{s.now(), *m})
		list = list[max(0, len(list)-maxNotices):]
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

// notifyNow tells a person's devices that are in a room now, and says whether there was one.
func (s *Server) notifyNow(person conclave.PersonID, m *signal.Notice) bool {
	s.mu.Lock()
	rooms := make([]*room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	frame, told := signal.Encode(m), false
	for _, r := range rooms {
		r.ask(func() {
			for _, seat := range r.seats {
				if seat.asker.statement.Person == person && seat.asker.statement.Kind == pass.KindDevice {
					seat.conn.sendFrame(frame)
					told = true
				}
			}
		})
	}
	return told
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
	if err := s.cfg.Store.Delete(ctx, noticeKey(person)); err != nil {
		s.cfg.Log.Error("notices not taken off", "person", person, "cause", err)
	}
}
