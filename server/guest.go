package server

import (
	"context"
	"net/http"

	"conclave"
	"conclave/admission"
	"conclave/identity"
	"conclave/server/reply"
)

// issueInvitation makes a guest's one-time invitation to a meeting.
func (s *Server) issueInvitation(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Name string            `json:"name"`
		Unit string            `json:"unit"`
		By   conclave.PersonID `json:"by,omitempty"` // who asked for it; absent: the administrator
	}
	err := reply.Read(w, r, &m)
	var meeting identity.Meeting
	if err == nil {
		meeting, err = s.namedMeeting(r)
	}
	var token identity.Token
	if err == nil {
		token, err = s.directory.InviteFor(r.Context(), m.By, meeting.ID, m.Name, m.Unit, s.cfg.Rand, s.now())
	}
	if err != nil {
		s.fail(w, "issue invitation", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Token    string `json:"token"`
		RootHash string `json:"root_hash"`
	}{token.Text(), s.cfg.Organisation.RootHash()})
}

// guest has a request say of a guest what the invitation does: invited to the one meeting, and known as far as that. For all other
// meetings, and once the invitation or the meeting is over, the guest is one whom nobody invited.
func (s *Server) guest(ctx context.Context, j *judgement, device identity.Device, id conclave.MeetingID) error {
	if device.Guest == nil {
		return nil
	}
	_, err := s.directory.Holder(ctx, device, s.now())
	holds, err := identity.Found(err)
	if err != nil {
		return err
	}
	j.request.Person = admission.Person{ID: device.Person, Known: holds, Unit: device.Guest.Unit}
	j.request.Chair = false
	j.request.Invited = holds && device.Guest.Meeting == id && j.meeting.ID == id
	return nil
}
