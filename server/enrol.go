package server

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/identity/passkey"
	"conclave/pass"
	"conclave/server/reply"
	"conclave/signal"
)

// How devices are enrolled and renewed. Nothing is kept between the steps of an enrolment: what the first answered comes
// back with the last, is looked at anew, and counts only where we would say the same.

// ceremonyLife is how long a person may take from the making of a passkey to its first touch.
const ceremonyLife = 10 * time.Minute

func (s *Server) enrolRoutes(mux *http.ServeMux) {
	for path, serve := range map[string]http.HandlerFunc{
		"/v1/enrol/start":    s.serveEnrolStart,
		"/v1/enrol/vouch":    s.serveEnrolVouch,
		"/v1/enrol":          s.serveEnrol,
		"/v1/guest":          s.serveGuest,
		"/v1/renew/start":    s.serveRenewStart,
		"/v1/renew":          s.serveRenew,
		"/v1/devices":        s.serveDevices,
		"/v1/devices/revoke": s.serveDevicesRevoke,
		"/v1/devices/link":   s.serveDevicesLink,
	} {
		mux.HandleFunc("POST "+path, s.limited(serve))
	}
}

// limited bounds how often one address may ask.
func (s *Server) limited(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.limits.request(s.clientAddress(r), s.now()) {
			reply.JSON(w, http.StatusTooManyRequests, problemTooMany)
			return
		}
		serve(w, r)
	}
}

// site is this server as authenticators know it, by the name under which r came. Its ID is empty where that is an address:
// passkeys are made for names alone.
func (s *Server) site(r *http.Request) passkey.Site { return s.siteOf(r.Host) }

func (s *Server) siteOf(host string) passkey.Site {
	if !s.hosts[canonicalHost(host)] {
		host = s.cfg.Hosts[0] // a proxy calls us by another name than people do
	}
	host = canonicalHost(host)
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return passkey.Site{}
	}
	scheme := "http://" // browsers make passkeys without TLS for localhost alone
	if s.cfg.Secure {
		scheme = "https://"
	}
	return passkey.Site{ID: name, Origins: []string{scheme + host}}
}

// enrolmentRequest is what the steps of an enrolment send; later steps send what the earlier ones did, and more.
type enrolmentRequest struct {
	Token      string `json:"token"`
	LeafKey    []byte `json:"leaf_key"`
	Proof      []byte `json:"proof"`
	DeviceName string `json:"device_name"`
	// Of a passkey: the challenge that enrol/start gave, the browser's answer to it, the statement's content that
	// enrol/vouch gave, and the browser's assertion over that.
	Challenge    []byte          `json:"challenge,omitempty"`
	Registration json.RawMessage `json:"registration,omitempty"`
	Content      []byte          `json:"content,omitempty"`
	Assertion    json.RawMessage `json:"assertion,omitempty"`
	// Chain are certificates of a card or a managed device.
	Chain [][]byte `json:"chain,omitempty"`
	// Meeting is a guest's.
	Meeting conclave.MeetingID `json:"meeting,omitzero"`
}

// enrolment checks the form of a request and the freshness of its challenge.
func (s *Server) enrolment(r *http.Request, m *enrolmentRequest) (identity.Enrolment, error) {
	token, err := identity.ParseToken(m.Token)
	if err != nil {
		return identity.Enrolment{}, err
	}
	e := identity.Enrolment{Token: token, LeafKey: m.LeafKey, Proof: m.Proof, DeviceName: m.DeviceName, Chain: m.Chain}
	if m.Registration == nil {
		return e, nil
	}
	if !s.nonces.within(m.Challenge, ceremonyLife, s.now()) {
		return e, conclave.Problem{Code: "passkey_stale", Fix: "passkey_again"}
	}
	e.Passkey = &identity.NewPasskey{Registration: m.Registration, Challenge: m.Challenge,
		Vouch: identity.Vouch{Site: s.site(r), Content: m.Content, Assertion: m.Assertion}}
	return e, nil
}

// passkeyOptions are what a browser needs to make a passkey.
type passkeyOptions struct {
	Site        string            `json:"site"` // empty: none can be made under this address
	Challenge   []byte            `json:"challenge"`
	Algorithms  []int             `json:"algorithms"`
	Attestation string            `json:"attestation"` // "none" or "direct"
	Rule        identity.Passkeys `json:"rule"`
	Hardware    bool              `json:"hardware"` // only attested hardware will do
	Use         identity.Use      `json:"use"`
	Person      personOfLink      `json:"person"`
}

// personOfLink is whom a link is for: whoever has it may know.
type personOfLink struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
}

func (s *Server) serveEnrolStart(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Token string `json:"token"`
	}
	err := reply.Read(w, r, &m)
	var token identity.Token
	if err == nil {
		token, err = identity.ParseToken(m.Token)
	}
	var use identity.Use
	var person identity.Person
	if err == nil {
		use, person, err = s.directory.Link(r.Context(), token, s.now())
	}
	var challenge []byte
	if err == nil {
		challenge, err = s.nonces.make(s.cfg.Rand, s.now())
	}
	if err != nil {
		s.refused(r.Context(), audit.KindEnrolment, &identity.Enrolment{Token: token}, conclave.MeetingID{}, err)
		s.fail(w, "enrol start", err)
		return
	}
	rules := s.directory.Rules()
	o := passkeyOptions{Site: s.site(r).ID, Challenge: challenge, Algorithms: passkey.Algorithms(), Attestation: "none",
		Rule: rules.Passkeys, Hardware: rules.Hardware, Use: use, Person: personOfLink{person.Name, person.Unit}}
	if rules.Metadata.Len() > 0 {
		o.Attestation = "direct" // else nobody would look at it
	}
	reply.JSON(w, http.StatusOK, &o)
}

// vouching is what a passkey is to vouch for.
type vouching struct {
	Content    []byte `json:"content,omitempty"` // of the statement; absent: no passkey is asked for
	Credential []byte `json:"credential,omitempty"`
	Site       string `json:"site"`
}

func (s *Server) serveEnrolVouch(w http.ResponseWriter, r *http.Request) {
	var m enrolmentRequest
	err := reply.Read(w, r, &m)
	var e identity.Enrolment
	if err == nil {
		e, err = s.enrolment(r, &m)
	}
	var p identity.Proposal
	if err == nil {
		p, err = s.directory.Propose(r.Context(), e, s.now())
	}
	if err != nil {
		s.refused(r.Context(), audit.KindEnrolment, &e, conclave.MeetingID{}, err)
		s.fail(w, "enrol vouch", err)
		return
	}
	reply.JSON(w, http.StatusOK, vouching{p.Content, p.Credential, s.site(r).ID})
}

func (s *Server) serveEnrol(w http.ResponseWriter, r *http.Request) {
	var m enrolmentRequest
	err := reply.Read(w, r, &m)
	var e identity.Enrolment
	if err == nil {
		e, err = s.enrolment(r, &m)
	}
	var statement []byte
	var device identity.Device
	if err == nil {
		statement, device, err = s.directory.Enrol(r.Context(), e, s.now())
	}
	if err == nil {
		s.tellNow(r.Context(), device.Person)
	} else {
		s.refused(r.Context(), audit.KindEnrolment, &e, conclave.MeetingID{}, err)
	}
	s.answerEnrolled(w, "enrol", statement, device, err)
}

func (s *Server) serveGuest(w http.ResponseWriter, r *http.Request) {
	var m enrolmentRequest
	err := reply.Read(w, r, &m)
	var e identity.Enrolment
	if err == nil {
		e, err = s.enrolment(r, &m)
	}
	var statement []byte
	var device identity.Device
	if err == nil {
		statement, device, err = s.directory.EnrolGuest(r.Context(), e, m.Meeting, s.now())
	}
	if err != nil {
		s.refused(r.Context(), audit.KindEnrolment, &e, m.Meeting, err)
	}
	s.answerEnrolled(w, "enrol guest", statement, device, err)
}

func (s *Server) answerEnrolled(w http.ResponseWriter, what string, statement []byte, device identity.Device, err error) {
	if err != nil {
		s.fail(w, what, err)
		return
	}
	s.cfg.Log.Info("device enrolled", "device", device.ID, "person", device.Person, "assurance", device.Assurance, "passkey", device.Passkey != nil)
	reply.JSON(w, http.StatusOK, s.enrolled(statement))
}

// deviceRequest is what an enrolled device sends about itself.
type deviceRequest struct {
	Statement []byte `json:"statement"`
	Nonce     []byte `json:"nonce"`
	Signature []byte `json:"signature"`
	// Of a renewal: the next statement's content, as renew/start gave it, and the passkey's word on it.
	Content   []byte          `json:"content,omitempty"`
	Assertion json.RawMessage `json:"assertion,omitempty"`
	// Device is the one to be revoked.
	Device conclave.DeviceID `json:"device,omitzero"`
}

// statement is the one that was sent, nil where nothing could be read.
func (m *deviceRequest) statement() []byte {
	if m == nil {
		return nil
	}
	return m.Statement
}

// readDevice decodes a request and checks what needs no directory.
func (s *Server) readDevice(w http.ResponseWriter, r *http.Request) (*deviceRequest, error) {
	m := new(deviceRequest)
	if err := reply.Read(w, r, m); err != nil {
		return nil, err
	}
	if len(m.Statement) > pass.MaxSize || !s.nonces.good(m.Nonce, s.now()) {
		return nil, reply.Malformed
	}
	return m, nil
}

// renewal calls try with the names under which the device may have known us, until its signature is for one of them.
func (s *Server) renewal(r *http.Request, m *deviceRequest, try func(identity.Renewal) error) error {
	n := identity.Renewal{Statement: m.Statement, Nonce: m.Nonce, Signature: m.Signature}
	if m.Assertion != nil {
		n.Vouch = &identity.Vouch{Site: s.site(r), Content: m.Content, Assertion: m.Assertion}
	}
	err := error(reply.Malformed)
	s.anyHost(r.Host, func(host string) bool {
		n.Host = host
		err = try(n)
		// A wrong signature may be one for another of our names; everything else is the answer.
		return err == nil || problemOf(err, reply.Trouble).Code != "renewal_proof"
	})
	return err
}

func (s *Server) serveRenewStart(w http.ResponseWriter, r *http.Request) {
	m, err := s.readDevice(w, r)
	var p identity.Proposal
	if err == nil {
		err = s.renewal(r, m, func(n identity.Renewal) (err error) {
			p, err = s.directory.ProposeRenewal(r.Context(), n, s.now())
			return err
		})
	}
	if err != nil {
		s.renewalRefused(r.Context(), m.statement(), err)
		s.fail(w, "renew start", err)
		return
	}
	reply.JSON(w, http.StatusOK, vouching{p.Content, p.Credential, s.site(r).ID})
}

func (s *Server) serveRenew(w http.ResponseWriter, r *http.Request) {
	m, err := s.readDevice(w, r)
	var statement []byte
	if err == nil {
		err = s.renewal(r, m, func(n identity.Renewal) (err error) {
			statement, _, err = s.directory.Renew(r.Context(), n, s.now())
			return err
		})
	}
	if err != nil {
		s.renewalRefused(r.Context(), m.statement(), err)
		s.fail(w, "renew", err)
		return
	}
	reply.JSON(w, http.StatusOK, s.enrolled(statement))
}

// ownDevice is one of a person's devices, as they see it.
type ownDevice struct {
	ID        conclave.DeviceID  `json:"id"`
	Name      string             `json:"name"`
	Assurance conclave.Assurance `json:"assurance"`
	Enrolled  time.Time          `json:"enrolled"`
	Until     time.Time          `json:"until"`
	Revoked   *time.Time         `json:"revoked,omitempty"`
	This      bool               `json:"this"`
	Passkey   bool               `json:"passkey"`
	Link      *identity.LinkKind `json:"link,omitempty"`
}

// asking returns the device that signed content, which is made from the host that it dialled.
func (s *Server) asking(r *http.Request, m *deviceRequest, content func(host string) []byte) (identity.Device, error) {
	statement, err := pass.ParseStatement(m.Statement)
	if err != nil {
		return identity.Device{}, conclave.Problem{Code: "statement_malformed", Fix: "enrol_again"}
	}
	if !s.anyHost(r.Host, func(host string) bool { return verifyLeaf(statement.LeafKey, content(host), m.Signature) }) {
		return identity.Device{}, conclave.Problem{Code: "renewal_proof", Fix: "enrol_again"}
	}
	return s.directory.Device(r.Context(), statement.Device())
}

func (s *Server) serveDevices(w http.ResponseWriter, r *http.Request) {
	m, err := s.readDevice(w, r)
	var own identity.Device
	if err == nil {
		own, err = s.asking(r, m, func(host string) []byte { return signal.DevicesContent(m.Nonce, m.Statement, host) })
	}
	var all []identity.Device
	if err == nil {
		all, err = s.directory.Devices(r.Context(), own.Person)
	}
	if err != nil {
		s.fail(w, "devices", err)
		return
	}
	list := []ownDevice{}
	for _, d := range all {
		list = append(list, ownDevice{d.ID, d.Name, d.Assurance, d.Enrolled, d.Until, d.Revoked, d.ID == own.ID, d.Passkey != nil, d.Link})
	}
	reply.JSON(w, http.StatusOK, struct {
		Devices    []ownDevice `json:"devices"`
		Credential []byte      `json:"credential,omitempty"` // whose touch a revocation needs
		Site       string      `json:"site"`
	}{list, credentialOf(own), s.site(r).ID})
}

func credentialOf(d identity.Device) []byte {
	if d.Passkey == nil {
		return nil
	}
	return d.Passkey.ID
}

// serveDevicesRevoke lets a person take one of their devices out of use from another, whose statement is in force. Where that
// other one has a passkey, its touch is asked for, and one without takes none out of use that has: who has copied a profile
// must not lock its owner out.
func (s *Server) serveDevicesRevoke(w http.ResponseWriter, r *http.Request) {
	m, err := s.readDevice(w, r)
	var content []byte
	var own, target identity.Device
	if err == nil {
		own, err = s.asking(r, m, func(host string) []byte {
			content = signal.RevokeContent(m.Nonce, m.Statement, m.Device, host)
			return content
		})
	}
	if err == nil {
		target, err = s.directory.Device(r.Context(), m.Device)
	}
	if err == nil && target.Person != own.Person {
		err = conclave.Problem{Code: "device_unknown", Fix: "enrol_again"} // as if there were none
	}
	if err == nil {
		_, err = s.cfg.Organisation.Trust.Statement(m.Statement, s.now())
	}
	if err == nil && own.Passkey == nil && target.Passkey != nil {
		err = conclave.Problem{Code: "passkey_none", Fix: "ask_administrator"}
	}
	if err == nil && own.Passkey != nil {
		challenge := signal.TouchOf(content)
		err = s.directory.Assert(r.Context(), own.ID, m.Assertion, challenge[:], s.site(r))
	}
	if err == nil {
		err = s.directory.RevokeDevice(r.Context(), m.Device, s.now())
		s.recheck(m.Device) // also where it could not be entered everywhere: as far as it is revoked, it is out
	}
	if err != nil {
		s.fail(w, "revoke own device", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct{}{})
}

// serveDevicesLink makes a link for a further device of a person, at the wish of one that they have. Only a touch of a
// passkey will do, whatever the organisation's rules: who has copied a profile could else enrol for ever after.
func (s *Server) serveDevicesLink(w http.ResponseWriter, r *http.Request) {
	m, err := s.readDevice(w, r)
	var content []byte
	var own identity.Device
	if err == nil {
		own, err = s.asking(r, m, func(host string) []byte {
			content = signal.LinkContent(m.Nonce, m.Statement, host)
			return content
		})
	}
	switch {
	case err != nil:
	case own.Passkey == nil:
		err = conclave.Problem{Code: "link_without_passkey", Fix: "ask_link"}
	case !s.now().Before(own.Until):
		err = conclave.Problem{Code: "statement_expired", Fix: "renew_enrolment"}
	default:
		challenge := signal.TouchOf(content)
		err = s.directory.Assert(r.Context(), own.ID, m.Assertion, challenge[:], s.site(r))
	}
	var token identity.Token
	if err == nil {
		token, err = s.directory.IssueTokenOn(r.Context(), own, s.cfg.Rand, s.now())
	}
	if err != nil {
		s.fail(w, "link for own device", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Token string `json:"token"`
	}{token.Text()})
}

// tellWaiting hands a device what waits for it alone: that another was enrolled in its person's name. It waits until the
// person has read it.
func (s *Server) tellWaiting(ctx context.Context, device conclave.DeviceID, c *conn) {
	notices, err := s.directory.Notices(ctx, device)
	if err != nil {
		s.cfg.Log.Error("notices not read", "device", device, "cause", err)
		return
	}
	for _, n := range notices {
		c.send(&signal.Notice{ID: deviceNotice + n.ID, Notice: n.Notice, Link: n.Link})
	}
}

// tellNow hands the person's devices that are in a room now what waits for them.
func (s *Server) tellNow(ctx context.Context, person conclave.PersonID) {
	for _, r := range s.running() {
		r.ask(func() {
			for _, seat := range r.seats {
				if seat.asker.statement.Person == person && seat.asker.statement.Kind == pass.KindDevice {
					s.tellWaiting(ctx, seat.asker.device, seat.conn)
				}
			}
		})
	}
}
