package admission

import (
	"errors"
	"net/url"
	"strconv"
	"time"

	"conclave"
)

// FactRequest is the name under which a ruling's record keeps what the ruling rested on beside grade, level and proven facts,
// so that it can be made again under another policy. What an endpoint claimed is not kept.
const FactRequest = "request"

// Fact puts into one fact what the server knew of a request. now is when it was asked.
func (r *Request) Fact(now time.Time) conclave.Fact {
	v := url.Values{}
	flag := func(name string, set bool) {
		if set {
			v.Set(name, "1")
		}
	}
	v.Set("id", string(r.Person.ID))
	v.Set("st", strconv.Itoa(int(r.Statement)))
	v.Set("as", strconv.Itoa(int(r.Assurance)))
	flag("kn", r.Person.Known)
	flag("rm", r.Person.Removed)
	flag("in", r.Invited)
	flag("ch", r.Chair)
	flag("li", r.LetIn)
	flag("ex", r.Excepted)
	if r.Meeting.Door != "" {
		v.Set("door", string(r.Meeting.Door))
	}
	v.Set("is", r.Meeting.state(now))
	if unit := r.Person.Unit; unit != "" {
		v.Set("unit", unit[:min(len(unit), 128)])
	}
	return conclave.Fact{Name: FactRequest, Value: v.Encode(), Proven: true}
}

var errReplay = errors.New("admission: the record does not hold what its ruling rested on")

// Replay makes the request of a ruling's record again, as far as the server had proven it; claims stay unknown. at is the
// record's time.
func Replay(facts []conclave.Fact, grade conclave.Grade, level conclave.Level, at time.Time) (Request, error) {
	r := Request{Grade: grade, Meeting: Meeting{Level: level}}
	found := false
	for _, f := range facts {
		if f.Name != FactRequest {
			if f.Proven {
				r.Facts = append(r.Facts, f)
			}
			continue
		}
		v, err := url.ParseQuery(f.Value)
		statement, err1 := strconv.ParseUint(v.Get("st"), 10, 8)
		assurance, err2 := strconv.ParseUint(v.Get("as"), 10, 8)
		if err != nil || err1 != nil || err2 != nil || statement > uint64(StatementValid) || assurance > uint64(conclave.AssuranceManaged) {
			return r, errReplay
		}
		found = true
		r.Statement, r.Assurance = Statement(statement), conclave.Assurance(assurance)
		r.Person = Person{ID: conclave.PersonID(v.Get("id")), Known: v.Get("kn") == "1", Removed: v.Get("rm") == "1", Unit: v.Get("unit")}
		r.Invited, r.Chair, r.LetIn, r.Excepted = v.Get("in") == "1", v.Get("ch") == "1", v.Get("li") == "1", v.Get("ex") == "1"
		r.Meeting.Door = Door(v.Get("door"))
		switch v.Get("is") {
		case stateOver:
			r.Meeting.Ended = true
		case stateEarly:
			r.Meeting.From = at.Add(time.Hour)
		}
	}
	if !found {
		return r, errReplay
	}
	return r, nil
}
