package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/identity"
	"conclave/line"
	"conclave/network"
	"conclave/pass"
	"conclave/roster"
	"conclave/sfu"
	"conclave/store"
)

// What the server can find out of a line by itself. A fact that it cannot find out is absent: what that means, policy says.
// Addresses stay in memory; neither a fact, nor a record, nor the log has one.

// way is how a connection came here, as proven.
type way struct {
	tls   string // "1.3"; "" where the TLS is not ours
	pq    bool   // its keys were agreed in a way that resists quantum computers
	hello network.Hello
}

// mediaWay is how sound comes; the zero value is that none does.
type mediaWay struct {
	kind    string // "udp", "tcp", "relay"
	address netip.Addr
}

// quantumSafe are the key exchanges with ML-KEM.
var quantumSafe = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024}

// wayOf says how a request came here. Over a proxy that is not seen: the TLS that arrives here is the proxy's own.
func (s *Server) wayOf(r *http.Request) way {
	var w way
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); r.TLS == nil || err != nil || s.trustsProxy(peer.Addr().Unmap()) {
		return w
	}
	w.tls = strings.TrimPrefix(tls.VersionName(r.TLS.Version), "TLS ")
	w.pq = slices.Contains(quantumSafe, r.TLS.CurveID)
	if c, ok := r.Context().Value(countedKey{}).(*counted); ok {
		if h := c.hello.Load(); h != nil {
			w.hello = *h
		}
	}
	return w
}

type countedKey struct{}

// ConnContext is for http.Server.ConnContext: it lets requests know what their connection's first message gave away.
func (s *Server) ConnContext(ctx context.Context, c net.Conn) context.Context {
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	if own, ok := c.(*counted); ok {
		return context.WithValue(ctx, countedKey{}, own)
	}
	return ctx
}

// TLS returns cfg with an eye on hellos. The listener must be Listener's.
func (s *Server) TLS(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	next := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		if c, ok := info.Conn.(*counted); ok {
			hello := network.NewHello(info)
			c.hello.Store(&hello)
		}
		if next != nil {
			return next(info)
		}
		return nil, nil
	}
	return cfg
}

// deviceNew is how long a device counts as new: so long a stolen link may go unnoticed.
const deviceNew = 24 * time.Hour

// whose is whom facts are about, besides the line.
type whose struct {
	person conclave.PersonID
	device identity.Device // zero: none that is enrolled here
}

// facts returns what the server has found out about a line, beyond what package line grades by. seen names the network for
// network_seen; it is empty where there is none to be remembered.
func (s *Server) facts(ctx context.Context, a *asker, who whose) (facts []conclave.Fact, seen string, err error) {
	ground, now := s.ground.Load(), s.now()
	add := func(name, value string) { facts = append(facts, conclave.Fact{Name: name, Value: value, Proven: true}) }
	add("transport", a.transport)
	if a.way.tls != "" {
		add("tls", a.way.tls)
		add("tls_pq", yesNo(a.way.pq))
		add("tls_client", string(a.way.hello.Claimed(a.client.Kind, a.client.Agent)))
	}
	place := ground.Places.Place(a.address)
	approved, listed := ground.Networks.Find(a.address)
	if place.Country != "" {
		add("country", string(place.Country))
	}
	if a.address.IsValid() && !listed && ground.knowsOperators() {
		add("operator", string(place.Kind))
	}
	for _, f := range s.travel(ground, who.person, place.Country, listed, now) {
		add(f.Name, f.Value)
	}
	if a.media.kind != "" {
		add("media", a.media.kind)
		if word := ground.mediaNetwork(a); word != "" {
			add("media_network", word)
		}
	}
	if a.mark != "" {
		add("mark_key", a.mark)
	}
	if g := who.device.Guest; g != nil && g.By != "" && who.device.ID == a.device {
		add("invited_by", string(g.By))
	}
	if a.statement.Kind == pass.KindDevice && who.device.ID == a.device {
		age := "known"
		if now.Sub(who.device.Enrolled) < deviceNew {
			age = "new"
		}
		add("device_age", age)
		if posture := s.directory.Posture(&who.device, now); posture != identity.PostureNone {
			add("posture", string(posture))
		}
		assertion := "none"
		if a.asserted {
			assertion = "fresh"
		}
		add("assertion", assertion)
		if seen = networkName(a.address, approved, listed, place); seen != "" {
			known, err := s.seen(ctx, a.device, seen)
			if err != nil {
				return nil, "", err
			}
			word := "new"
			if known {
				word = "known"
			}
			add("network_seen", word)
		}
	}
	return facts, seen, nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// knowsOperators says whether anything here could tell one operator from another.
func (g *Ground) knowsOperators() bool {
	return len(g.Places.Databases) > 0 || g.Places.Listed != nil && g.Places.Listed.Len() > 0
}

// mediaNetwork says whether sound comes from where signalling does, "" where that cannot be said: a machine with two kinds of
// addresses may use one for each.
func (g *Ground) mediaNetwork(a *asker) string {
	from, to := a.address.Unmap(), a.media.address.Unmap()
	if !from.IsValid() || !to.IsValid() || a.media.kind == "relay" {
		return ""
	}
	if from == to || addressKey(from) == addressKey(to) {
		return "same"
	}
	one, oneListed := g.Networks.Find(from)
	other, otherListed := g.Networks.Find(to)
	if oneListed || otherListed {
		if one.Name == other.Name {
			return "same"
		}
		return "other"
	}
	x, y := g.Places.Place(from), g.Places.Place(to)
	switch {
	case x.AS != 0 && y.AS != 0:
		return sameOther(x.AS == y.AS)
	case x.Country != y.Country:
		return "other"
	case from.Is4() == to.Is4():
		return "other" // one machine has one address of a kind, seen from here; large networks have several: they are listed
	}
	return ""
}

func sameOther(same bool) string {
	if same {
		return "same"
	}
	return "other"
}

// travel says whether a person is on a trip, and whether the risk is raised where they are or go.
func (s *Server) travel(g *Ground, person conclave.PersonID, country network.Country, listed bool, now time.Time) []conclave.Fact {
	var out []conclave.Fact
	abroad := country != "" && len(g.Places.Home) > 0 && !g.Places.AtHome(country) && !listed
	atHome := country != "" && g.Places.AtHome(country) && !listed
	var trips []network.Country
	if !atHome { // who comes from home by a network that is nobody's tunnel is not away
		trips = s.trips.on(person, now)
	}
	switch {
	case abroad && !slices.Contains(trips, country):
		out = append(out, conclave.Fact{Name: "travel", Value: "unannounced"})
	case len(trips) > 0:
		out = append(out, conclave.Fact{Name: "travel", Value: "announced"})
	case listed || atHome:
		out = append(out, conclave.Fact{Name: "travel", Value: "none"})
	}
	if g.Places.Calendar == nil {
		return out
	}
	risk := "normal"
	if !listed {
		trips = append(trips, country)
	}
	for _, c := range trips {
		if _, raised := g.Places.Calendar.Raised(c, now); raised {
			risk = "raised"
		}
	}
	return append(out, conclave.Fact{Name: "risk", Value: risk})
}

// mediaFrom takes from the SFU where a leg's packets come from. The leg is ruled anew where that makes it better or worse;
// that sound has begun, from where it should, is told by the next ruling.
func (r *room) mediaFrom(e sfu.Event) {
	s := r.seats[e.Leg]
	leg, _ := r.roster.Leg(e.Leg)
	if s == nil || !e.Address.IsValid() || leg.Standing != roster.Member && leg.Standing != roster.Admitted {
		return // of a path that was cut since
	}
	before := s.asker.media
	s.asker.media = mediaWay{kind: "udp", address: e.Address.Addr().Unmap()}
	ground := r.ground.Load()
	was := s.asker
	was.media = before
	if (ground.mediaNetwork(&was) == "other") != (ground.mediaNetwork(&s.asker) == "other") {
		r.ruleAnew(e.Leg)
	}
}

// Where a device was let in before is kept as tags: nobody reads an address, or a network, out of them.
const (
	historyPrefix  = "history"
	historyKey     = "history-key"
	maxHistory     = 16 // networks of a device; the oldest is forgotten
	historyTagSize = 8
)

// networkName names the network of an address as closely as a person moves within it: the approved one, the operator's in a
// country, or else a sixteenth of the country's.
func networkName(a netip.Addr, approved line.Network, listed bool, place network.Place) string {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return ""
	case listed:
		return "approved\x00" + approved.Name
	case place.AS != 0:
		return "operator\x00" + string(place.Country) + string(binaryAS(place.AS))
	}
	bits := 16
	if a.Is6() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return "prefix\x00" + p.String()
}

func binaryAS(n network.AS) []byte {
	return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// history is what is kept of a device.
type history struct {
	Networks [][]byte `json:"networks"` // tags, the latest last
}

func (s *Server) historyTag(name string) []byte {
	h := hmac.New(sha256.New, s.historySecret[:])
	h.Write([]byte(name))
	return h.Sum(nil)[:historyTagSize]
}

// openHistory reads the key of the tags, or makes it.
func (s *Server) openHistory(ctx context.Context) error {
	stored, err := s.cfg.Store.Get(ctx, historyKey)
	if err == nil && len(stored.Value) == len(s.historySecret) {
		copy(s.historySecret[:], stored.Value)
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, err := io.ReadFull(s.cfg.Rand, s.historySecret[:]); err != nil {
		return err
	}
	_, err = s.cfg.Store.Put(ctx, historyKey, s.historySecret[:])
	return err
}

func (s *Server) history(ctx context.Context, device conclave.DeviceID) (history, error) {
	var h history
	stored, err := s.cfg.Store.Get(ctx, historyPrefix+"."+store.Key(device.Text()))
	if errors.Is(err, store.ErrNotFound) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if json.Unmarshal(stored.Value, &h) != nil || len(h.Networks) > maxHistory {
		return history{}, nil // then all is new
	}
	return h, nil
}

// seen says whether a device was let in from a network before.
func (s *Server) seen(ctx context.Context, device conclave.DeviceID, name string) (bool, error) {
	h, err := s.history(ctx, device)
	if err != nil {
		return false, err
	}
	tag := s.historyTag(name)
	return slices.ContainsFunc(h.Networks, func(t []byte) bool { return hmac.Equal(t, tag) }), nil
}

// remember keeps that a device was let in from a network. Of two at once one may be forgotten: it is new once more.
func (s *Server) remember(ctx context.Context, device conclave.DeviceID, name string) {
	h, err := s.history(ctx, device)
	if err == nil {
		tag := s.historyTag(name)
		if slices.ContainsFunc(h.Networks, func(t []byte) bool { return hmac.Equal(t, tag) }) {
			return
		}
		h.Networks = append(h.Networks, tag)
		h.Networks = h.Networks[max(0, len(h.Networks)-maxHistory):]
		var b []byte
		if b, err = json.Marshal(h); err == nil {
			_, err = s.cfg.Store.Put(ctx, historyPrefix+"."+store.Key(device.Text()), b)
		}
	}
	if err != nil {
		s.cfg.Log.Warn("where a device was let in is not kept", "device", device, "cause", err)
	}
}
