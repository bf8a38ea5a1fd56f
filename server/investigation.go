package server

import (
	"net/http"

	"conclave"
	"conclave/server/reply"
)

// What an investigation asks of a running server beside the log: names for devices and people, and for levels. Where a copy
// of the log is all there is, reports go without them.

// maxNames bounds one question for names: a large meeting's.
const maxNames = 5000

// named is what the directory knows of a device or person that records name.
type named struct {
	Person conclave.PersonID `json:"person"`
	Name   string            `json:"name"`
	Unit   string            `json:"unit"`
}

// serveNames names devices, people and levels.
func (s *Server) serveNames(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Devices []conclave.DeviceID `json:"devices"`
		People  []conclave.PersonID `json:"people"`
	}
	type level struct {
		Name  string            `json:"name"`
		Words map[string]string `json:"words,omitempty"`
	}
	answer := struct {
		Devices map[string]named `json:"devices"`
		People  map[string]named `json:"people"`
		Levels  []level          `json:"levels"`
	}{Devices: map[string]named{}, People: map[string]named{}}
	err := reply.Read(w, r, &m)
	if err == nil && len(m.Devices)+len(m.People) > maxNames {
		err = reply.Malformed
	}
	for _, id := range m.Devices {
		if err != nil {
			break
		}
		var known bool
		device, lookup := s.directory.Device(r.Context(), id)
		if known, err = found(lookup); !known {
			continue
		}
		n := named{Person: device.Person}
		if device.Guest != nil {
			n.Name, n.Unit = device.Guest.Name, device.Guest.Unit
		} else if person, lookup := s.directory.Person(r.Context(), device.Person); lookup == nil {
			n.Name, n.Unit = person.Name, person.Unit
		}
		answer.Devices[id.Text()] = n
	}
	for _, id := range m.People {
		if err != nil {
			break
		}
		var known bool
		person, lookup := s.directory.Person(r.Context(), id)
		if known, err = found(lookup); known {
			answer.People[string(id)] = named{person.ID, person.Name, person.Unit}
		}
	}
	if err != nil {
		s.fail(w, "name people", err)
		return
	}
	for _, l := range s.policy().Levels() {
		answer.Levels = append(answer.Levels, level{l.Name, l.Words})
	}
	reply.JSON(w, http.StatusOK, answer)
}
