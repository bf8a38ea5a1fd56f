package kept

import (
	"crypto/sha256"
	"net/http"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/reply"
	"conclave/signal"
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
func (a *Archive) serveNames(w http.ResponseWriter, r *http.Request) {
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
		device, lookup := a.Directory.Device(r.Context(), id)
		if known, err = identity.Found(lookup); !known {
			continue
		}
		n := named{Person: device.Person}
		if device.Guest != nil {
			n.Name, n.Unit = device.Guest.Name, device.Guest.Unit
		} else if person, lookup := a.Directory.Person(r.Context(), device.Person); lookup == nil {
			n.Name, n.Unit = person.Name, person.Unit
		}
		answer.Devices[id.Text()] = n
	}
	for _, id := range m.People {
		if err != nil {
			break
		}
		var known bool
		person, lookup := a.Directory.Person(r.Context(), id)
		if known, err = identity.Found(lookup); known {
			answer.People[string(id)] = named{person.ID, person.Name, person.Unit}
		}
	}
	if err != nil {
		a.fail(w, "name people", err)
		return
	}
	for _, l := range a.Levels() {
		answer.Levels = append(answer.Levels, level{l.Name, l.Words})
	}
	reply.JSON(w, http.StatusOK, answer)
}

// recordInvestigation writes into the log that sealed ledgers or marks of a meeting are about to be opened, by whom and
// why, or that a report was made, by its digest. The investigator's program opens nothing before this has answered.
func (a *Archive) recordInvestigation(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Meeting conclave.MeetingID `json:"meeting"`
		Reason  string             `json:"reason"`
		Blocks  uint64             `json:"blocks"`
		Report  []byte             `json:"report,omitempty"`
	}
	err := reply.Read(w, r, &m)
	if err == nil && (len(m.Reason) > signal.MaxText || len(m.Report) != 0 && len(m.Report) != sha256.Size) {
		err = reply.Malformed
	}
	var index audit.Index
	if err == nil {
		index, err = a.Audit.Record(r.Context(), audit.Record{Kind: audit.KindInvestigation, Time: a.now(), Meeting: m.Meeting, Reason: m.Reason, Size: m.Blocks, Commitment: m.Report})
	}
	if err != nil {
		a.fail(w, "record an investigation", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Record audit.Index `json:"record"`
	}{index})
}
