package server

import (
	"context"
	"maps"
	"slices"

	"conclave"
)

// Which rooms run. A room is opened from the disk, outside the server's mutex: one whose disk is slow holds up nobody but
// those who want into it.

// opening is a room on its way. Whoever wants it waits for the one opening there is.
type opening struct {
	wanted int           // how many wait for it; guarded by Server.mu
	later  []func(*room) // what was said to all rooms meanwhile; guarded by Server.mu
	done   chan struct{} // closed, under Server.mu, once room or err is set
	room   *room
	err    error
}

// attach returns a meeting's room, opened if it is not, and keeps it open until detach.
func (s *Server) attach(ctx context.Context, id conclave.MeetingID) (*room, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosing
	}
	if r := s.rooms[id]; r != nil {
		r.users++
		s.mu.Unlock()
		return r, nil
	}
	o := s.openings[id]
	if o == nil {
		o = &opening{done: make(chan struct{})}
		s.openings[id] = o
		// With the server's life, not with that of whoever came first: others wait for it too.
		s.wait.Go(func() { s.open(id, o) })
	}
	o.wanted++
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.room, o.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	select {
	case <-o.done: // just now
		s.mu.Unlock()
		if o.room != nil {
			s.detach(o.room)
		}
	default:
		o.wanted--
		s.mu.Unlock()
	}
	return nil, ctx.Err()
}

// open opens a room for those who wait, and has it run. Where it cannot be opened nobody is in, and whoever asks next has it
// tried again.
func (s *Server) open(id conclave.MeetingID, o *opening) {
	r, err := s.openRoom(s.ctx, id)
	s.mu.Lock()
	delete(s.openings, id)
	if err == nil && s.closed {
		r.media.Close()
		r, err = nil, errClosing
	}
	o.room, o.err = r, err
	close(o.done)
	if err != nil {
		s.mu.Unlock()
		return
	}
	s.rooms[id] = r
	r.users = o.wanted
	s.wait.Go(r.run)
	later := o.later
	s.mu.Unlock()
	// Who asked meanwhile is ruled on as everything is now; this is for those whose places the room brought along.
	for _, f := range later {
		f(r)
	}
	r.post(func() {}) // the room looks whether it is needed: those who wanted it may have gone
}

func (s *Server) detach(r *room) {
	s.mu.Lock()
	r.users--
	s.mu.Unlock()
	r.post(func() {}) // the room looks whether it is still needed
}

// retire takes a room off the list if nobody uses it, and says whether it did. The room's goroutine then ends.
func (s *Server) retire(r *room, broken bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.users > 0 && !broken {
		return false
	}
	if s.rooms[r.meeting.ID] == r {
		delete(s.rooms, r.meeting.ID)
	}
	return true
}

// find returns an open room, nil if it is not open.
func (s *Server) find(id conclave.MeetingID) *room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[id]
}

// runs says whether a room is open, or being opened.
func (s *Server) runs(id conclave.MeetingID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[id] != nil || s.openings[id] != nil
}

// running returns the rooms that are open.
func (s *Server) running() []*room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.rooms))
}

// tell has something said to a room: now if it is open, and as soon as it is if it is being opened.
func (s *Server) tell(id conclave.MeetingID, say func(*room)) {
	s.mu.Lock()
	r := s.rooms[id]
	if o := s.openings[id]; o != nil {
		o.later = append(o.later, say)
	}
	s.mu.Unlock()
	if r != nil {
		say(r)
	}
}

// tellRooms is tell for all rooms.
func (s *Server) tellRooms(say func(*room)) {
	s.mu.Lock()
	rooms := slices.Collect(maps.Values(s.rooms))
	for _, o := range s.openings {
		o.later = append(o.later, say)
	}
	s.mu.Unlock()
	for _, r := range rooms {
		say(r)
	}
}
