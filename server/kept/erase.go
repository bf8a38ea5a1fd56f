package kept

import (
	"net/http"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/server/reply"
)

// eraseRecords erases the personal parts of records: of a person and their devices, of devices, or older than a time.
func (a *Archive) eraseRecords(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Person  conclave.PersonID   `json:"person"`
		Devices []conclave.DeviceID `json:"devices"`
		Before  time.Time           `json:"before"`
	}
	if err := reply.Read(w, r, &q); err != nil {
		a.fail(w, "erase records", err)
		return
	}
	if q.Person == "" && len(q.Devices) == 0 && q.Before.IsZero() {
		a.fail(w, "erase records", reply.Malformed)
		return
	}
	devices := map[conclave.DeviceID]bool{}
	for _, d := range q.Devices {
		devices[d] = true
	}
	if q.Person != "" {
		// A person may be struck off already; their devices are known none the less.
		known, err := a.Directory.Devices(r.Context(), q.Person)
		if err != nil {
			a.fail(w, "erase records", err)
			return
		}
		for _, d := range known {
			devices[d.ID] = true
		}
	}
	done, err := a.Audit.Erase(r.Context(), a.now(), func(e audit.Entry) bool {
		// The key of a phone call stands in no directory: what it was ruled on as says whose it is, and comes before all else of it.
		if q.Person != "" && e.Record.Kind == audit.KindRuling && e.Record.Person == q.Person && e.Record.Device != (conclave.DeviceID{}) {
			devices[e.Record.Device] = true
		}
		if !q.Before.IsZero() && !e.Record.Time.Before(q.Before) {
			return false
		}
		return q.Person == "" && len(devices) == 0 || e.Record.Concerns(q.Person) || devices[e.Record.Device]
	})
	if err != nil {
		a.fail(w, "erase records", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Records uint64 `json:"records"`
	}{done.Records})
}
