package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/network"
	"conclave/server/reply"
	"conclave/store"
)

// trip is a journey that was announced. It is kept until it is over.
type trip struct {
	Country network.Country `json:"country"`
	From    string          `json:"from"`  // the first day, as 2026-02-03
	Until   string          `json:"until"` // the last
}

// The bounds of trips.
const (
	tripPrefix = "trip"
	maxTrips   = 32 // of one person
	maxTrip    = 92 * 24 * time.Hour
)

// trips are all trips, by person; they are few, and every ruling asks for them.
type trips struct {
	mu  sync.RWMutex
	all map[conclave.PersonID][]trip // guarded by mu, as the store has it
}

// on returns the countries in which a person is on an announced trip now.
func (t *trips) on(person conclave.PersonID, now time.Time) []network.Country {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []network.Country
	for _, one := range t.all[person] {
		if from, until, err := network.ParseDays(one.From, one.Until); err == nil && !now.Before(from) && now.Before(until) {
			out = append(out, one.Country)
		}
	}
	return out
}

// storedTrips are the trips of one person in the store.
type storedTrips struct {
	Person conclave.PersonID `json:"person"`
	Trips  []trip            `json:"trips"`
}

func tripKey(person conclave.PersonID) store.Key {
	sum := sha256.Sum256([]byte(person))
	return tripPrefix + "." + store.Key(hex.EncodeToString(sum[:16]))
}

// openTrips reads all trips.
func (s *Server) openTrips(ctx context.Context) error {
	entries, err := s.cfg.Store.List(ctx, tripPrefix)
	if err != nil {
		return fmt.Errorf("server: read trips: %w", err)
	}
	s.trips.mu.Lock()
	defer s.trips.mu.Unlock()
	s.trips.all = map[conclave.PersonID][]trip{}
	for _, e := range entries {
		var stored storedTrips
		if err := json.Unmarshal(e.Value, &stored); err != nil {
			return errors.New("server: read trips: an entry cannot be read")
		}
		s.trips.all[stored.Person] = stored.Trips
	}
	return nil
}

// changeTrips changes a person's trips in the store, then here, and has the person's legs ruled anew.
func (s *Server) changeTrips(ctx context.Context, person conclave.PersonID, change func([]trip) ([]trip, error)) error {
	if _, err := s.directory.Person(ctx, person); err != nil {
		return err
	}
	if err := s.replaceTrips(ctx, person, change); err != nil {
		return err
	}
	devices, err := s.directory.Devices(ctx, person)
	if err != nil {
		return err
	}
	var ids []conclave.DeviceID
	for _, d := range devices {
		ids = append(ids, d.ID)
	}
	s.recheck(ids...)
	return nil
}

func (s *Server) replaceTrips(ctx context.Context, person conclave.PersonID, change func([]trip) ([]trip, error)) error {
	s.trips.mu.Lock() // over the store too: two changes at once must not lose one
	defer s.trips.mu.Unlock()
	now := s.now()
	before := slices.DeleteFunc(slices.Clone(s.trips.all[person]), func(t trip) bool {
		_, until, err := network.ParseDays(t.From, t.Until)
		return err != nil || !now.Before(until)
	})
	after, err := change(before)
	if err != nil {
		return err
	}
	if err := s.recordTrips(ctx, person, before, after, now); err != nil {
		return err
	}
	if len(after) == 0 {
		err = s.cfg.Store.Delete(ctx, tripKey(person))
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
	} else {
		var b []byte
		if b, err = json.Marshal(storedTrips{person, after}); err == nil {
			_, err = s.cfg.Store.Put(ctx, tripKey(person), b)
		}
	}
	if err != nil {
		return fmt.Errorf("server: keep trips: %w", err)
	}
	s.trips.all[person] = after
	return nil
}

// recordTrips records what is announced and what is taken back: rulings rest on it.
func (s *Server) recordTrips(ctx context.Context, person conclave.PersonID, before, after []trip, now time.Time) error {
	note := func(outcome string, trips, but []trip) error {
		for _, t := range trips {
			if slices.Contains(but, t) {
				continue
			}
			facts := []conclave.Fact{{Name: "country", Value: string(t.Country)}, {Name: "from", Value: t.From}, {Name: "until", Value: t.Until}}
			if _, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindTrip, Time: now, Person: person, Outcome: outcome, Facts: facts}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := note("done", after, before); err != nil {
		return err
	}
	return note("refuse", before, after)
}

func (t *trip) check() error {
	country, ok := network.ParseCountry(string(t.Country))
	if !ok {
		return conclave.Problem{Code: "trip_country", Fix: "choose_country"}
	}
	t.Country = country
	from, until, err := network.ParseDays(t.From, t.Until)
	if err != nil || from.IsZero() || until.IsZero() || until.Sub(from) > maxTrip+50*time.Hour {
		return conclave.Problem{Code: "trip_days", Fix: "choose_days"}
	}
	return nil
}

// serveAddTrip is POST /people/{person}/trips on the administrator's socket.
func (s *Server) serveAddTrip(w http.ResponseWriter, r *http.Request) {
	var m trip
	err := reply.Read(w, r, &m)
	if err == nil {
		err = m.check()
	}
	if err == nil {
		err = s.changeTrips(r.Context(), conclave.PersonID(r.PathValue("person")), func(all []trip) ([]trip, error) {
			if len(all) >= maxTrips {
				return nil, conclave.Problem{Code: "trips_many", Fix: "remove_trip"}
			}
			if slices.Contains(all, m) {
				return all, nil
			}
			return append(all, m), nil
		})
	}
	if err != nil {
		s.fail(w, "add trip", err)
		return
	}
	reply.JSON(w, http.StatusOK, m)
}

// serveTrips is GET /people/{person}/trips.
func (s *Server) serveTrips(w http.ResponseWriter, r *http.Request) {
	person, err := s.directory.Person(r.Context(), conclave.PersonID(r.PathValue("person")))
	if err != nil {
		s.fail(w, "show trips", err)
		return
	}
	s.trips.mu.RLock()
	all := append([]trip{}, s.trips.all[person.ID]...)
	s.trips.mu.RUnlock()
	slices.SortFunc(all, func(a, b trip) int { return strings.Compare(a.From, b.From) })
	reply.JSON(w, http.StatusOK, struct {
		Trips []trip `json:"trips"`
	}{all})
}

// serveRemoveTrips is POST /people/{person}/trips/remove: those to a country, or all.
func (s *Server) serveRemoveTrips(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Country network.Country `json:"country"` // empty: all
	}
	removed := 0
	err := reply.Read(w, r, &m)
	if err == nil {
		err = s.changeTrips(r.Context(), conclave.PersonID(r.PathValue("person")), func(all []trip) ([]trip, error) {
			left := slices.DeleteFunc(slices.Clone(all), func(t trip) bool { return m.Country == "" || t.Country == m.Country })
			removed = len(all) - len(left)
			return left, nil
		})
	}
	if err != nil {
		s.fail(w, "remove trips", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Removed int `json:"removed"`
	}{removed})
}

// forget erases the trips of a person who was struck off, and where their devices were let in.
func (s *Server) forget(ctx context.Context, person conclave.PersonID) error {
	if err := s.replaceTrips(ctx, person, func([]trip) ([]trip, error) { return nil, nil }); err != nil {
		return err
	}
	devices, err := s.directory.Devices(ctx, person)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if err := s.cfg.Store.Delete(ctx, historyPrefix+"."+store.Key(d.ID.Text())); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
