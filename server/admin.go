package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/reply"
)

// adminRoutes are for the administrator's socket.
func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /organisation", s.serveOrganisation)
	mux.HandleFunc("POST /people", s.addPerson)
	mux.HandleFunc("GET /people", s.listPeople)
	mux.HandleFunc("GET /people/{person}", s.showPerson)
	mux.HandleFunc("POST /people/{person}/remove", s.removePerson)
	mux.HandleFunc("POST /people/{person}/trips", s.serveAddTrip)
	mux.HandleFunc("GET /people/{person}/trips", s.serveTrips)
	mux.HandleFunc("POST /people/{person}/trips/remove", s.serveRemoveTrips)
	mux.HandleFunc("POST /policy/reload", s.serveReload)
	mux.HandleFunc("POST /links", s.issueLink)
	mux.HandleFunc("POST /meetings", s.openMeeting)
	mux.HandleFunc("GET /meetings", s.listMeetings)
	mux.HandleFunc("GET /meetings/{pointer}", s.showMeeting)
	mux.HandleFunc("POST /meetings/{pointer}/end", s.endMeeting)
	mux.HandleFunc("POST /meetings/{pointer}/invitations", s.issueInvitation)
	mux.HandleFunc("POST /devices/{device}/revoke", s.revokeDevice)
	mux.HandleFunc("POST /phone/gateways", s.issueGatewayLink)
	mux.HandleFunc("POST /phone/gateways/{gateway}/revoke", s.revokeGateway)
	mux.HandleFunc("POST /phone/codes", s.issuePhoneCode)
	mux.HandleFunc("POST /phone/codes/revoke", s.revokePhoneCodes)
	mux.HandleFunc("GET /records", s.showRecords)
	s.kept.Routes(mux)
	mux.HandleFunc("/", s.notFound)
	return mux
}

func (s *Server) addPerson(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID    conclave.PersonID `json:"id"`
		Name  string            `json:"name"`
		Unit  string            `json:"unit"`
		Phone string            `json:"phone,omitempty"`
	}
	err := reply.Read(w, r, &m)
	if err == nil {
		err = s.directory.AddPerson(r.Context(), identity.Person{ID: m.ID, Name: m.Name, Unit: m.Unit, Phone: m.Phone}, s.now())
	}
	if err != nil {
		s.fail(w, "add person", err)
		return
	}
	reply.JSON(w, http.StatusOK, m)
}

func (s *Server) showPerson(w http.ResponseWriter, r *http.Request) {
	person, err := s.directory.Person(r.Context(), conclave.PersonID(r.PathValue("person")))
	m := struct {
		identity.Person
		Devices []identity.Device `json:"devices"`
	}{Person: person}
	if err == nil {
		m.Devices, err = s.directory.Devices(r.Context(), person.ID)
	}
	if err != nil {
		s.fail(w, "show person", err)
		return
	}
	reply.JSON(w, http.StatusOK, m)
}

func (s *Server) issueLink(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Person conclave.PersonID `json:"person"`
		Use    identity.Use      `json:"use"` // absent: a device of the person's own
	}
	if err := reply.Read(w, r, &m); err != nil {
		s.fail(w, "issue link", err)
		return
	}
	token, err := s.directory.IssueTokenFor(r.Context(), m.Person, m.Use, s.cfg.Rand, s.now())
	if err != nil {
		s.fail(w, "issue link", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Token    string `json:"token"`
		RootHash string `json:"root_hash"`
	}{token.Text(), s.cfg.Organisation.RootHash()})
}

func (s *Server) openMeeting(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Title  string              `json:"title"`
		Level  string              `json:"level"` // by name
		Chair  conclave.PersonID   `json:"chair"`
		People []conclave.PersonID `json:"people"`
		Door   identity.Door       `json:"door"`
		From   time.Time           `json:"from,omitzero"`
		Until  time.Time           `json:"until,omitzero"`
	}
	if err := reply.Read(w, r, &m); err != nil {
		s.fail(w, "open meeting", err)
		return
	}
	level, ok := s.policy().Levels().Find(m.Level)
	if !ok {
		reply.JSON(w, http.StatusForbidden, conclave.Problem{Code: "level_unknown", Fix: "choose_level"})
		return
	}
	meeting, err := s.directory.OpenMeeting(r.Context(), identity.Meeting{Title: m.Title, Level: level, Chair: m.Chair, People: m.People, Door: m.Door, From: m.From, Until: m.Until}, s.cfg.Rand, s.now())
	if err != nil {
		s.fail(w, "open meeting", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Pointer conclave.MeetingID `json:"pointer"`
		Until   time.Time          `json:"until"`
	}{meeting.ID, meeting.Until})
}

func (s *Server) showMeeting(w http.ResponseWriter, r *http.Request) {
	meeting, err := s.namedMeeting(r)
	if err != nil {
		s.fail(w, "show meeting", err)
		return
	}
	m := struct {
		identity.Meeting
		LevelName string `json:"level_name"`
		Room      any    `json:"room"` // null: not running
	}{Meeting: meeting, LevelName: s.policy().Levels().Name(meeting.Level)}
	if room := s.find(meeting.ID); room != nil {
		room.ask(func() { m.Room = room.status() })
	}
	reply.JSON(w, http.StatusOK, m)
}

func (s *Server) listPeople(w http.ResponseWriter, r *http.Request) {
	people, err := s.directory.People(r.Context())
	if err != nil {
		s.fail(w, "list people", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		People []identity.Person `json:"people"`
	}{people})
}

func (s *Server) listMeetings(w http.ResponseWriter, r *http.Request) {
	meetings, err := s.directory.Meetings(r.Context())
	if err != nil {
		s.fail(w, "list meetings", err)
		return
	}
	type one struct {
		identity.Meeting
		LevelName string `json:"level_name"`
		Running   bool   `json:"running"`
	}
	all := make([]one, 0, len(meetings))
	for _, m := range meetings {
		all = append(all, one{m, s.policy().Levels().Name(m.Level), s.find(m.ID) != nil})
	}
	reply.JSON(w, http.StatusOK, struct {
		Meetings []one `json:"meetings"`
	}{all})
}

func (s *Server) namedMeeting(r *http.Request) (identity.Meeting, error) {
	id, err := conclave.ParseMeetingID(r.PathValue("pointer"))
	if err != nil {
		return identity.Meeting{}, conclave.Problem{Code: "meeting_unknown", Fix: "check_link"}
	}
	return s.directory.Meeting(r.Context(), id)
}

func (s *Server) endMeeting(w http.ResponseWriter, r *http.Request) {
	meeting, err := s.namedMeeting(r)
	if err == nil {
		err = s.directory.EndMeeting(r.Context(), meeting.ID, s.now())
	}
	if err != nil {
		s.fail(w, "end meeting", err)
		return
	}
	s.tell(meeting.ID, func(room *room) { room.askPressing(room.end, room.members) })
	reply.JSON(w, http.StatusOK, struct{}{})
}

func (s *Server) revokeDevice(w http.ResponseWriter, r *http.Request) {
	var id conclave.DeviceID
	err := error(conclave.Problem{Code: "device_unknown", Fix: "enrol_again"})
	if id.UnmarshalText([]byte(r.PathValue("device"))) == nil {
		err = s.directory.RevokeDevice(r.Context(), id, s.now())
	}
	s.recheck(id) // also where it could not be entered everywhere: as far as it is revoked, it is out
	if err != nil {
		s.fail(w, "revoke device", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct{}{})
}

// recheck has every room rule anew on the legs of these devices.
func (s *Server) recheck(devices ...conclave.DeviceID) {
	s.tellRooms(func(room *room) {
		room.askPressing(func() {
			for _, id := range devices {
				room.recheck(id)
			}
		}, func() (fail []conclave.LegID) {
			for _, id := range devices {
				fail = append(fail, room.anyFailing(id)()...)
			}
			return fail
		})
	})
}

func (s *Server) removePerson(w http.ResponseWriter, r *http.Request) {
	person := conclave.PersonID(r.PathValue("person"))
	revoked, err := s.directory.RemovePerson(r.Context(), person, s.now())
	s.recheck(revoked...) // those that were revoked, even if not all could be
	s.endCalls(s.phones.struckOff(person), problemStruckOff)
	if err == nil {
		err = s.forget(r.Context(), person)
	}
	if err != nil {
		s.fail(w, "remove person", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Devices int `json:"devices"` // revoked now
	}{len(revoked)})
}

// maxRecords bounds one answer with records.
const maxRecords = 1000

func (s *Server) showRecords(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.ParseUint(r.URL.Query().Get("from"), 10, 64)
	if err != nil {
		from = 1
	}
	// What has just happened is shown too, unless the disk does not take it.
	flushing, cancel := context.WithTimeout(r.Context(), audit.Patience)
	defer cancel()
	_ = s.audit.Flush(flushing)
	entries, err := s.audit.Read(r.Context(), audit.Index(from), maxRecords)
	if err != nil {
		s.fail(w, "show records", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		At      time.Time     `json:"at"`
		Records []audit.Entry `json:"records"`
	}{s.now(), entries})
}
