package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/identity"
	"conclave/identity/passkey"
	"conclave/identity/passkey/passkeytest"
	"conclave/pass"
	"conclave/server/servertest"
	"conclave/signal"
)

// byName has requests reach the server by its name.
func byName(w *servertest.World) *servertest.World {
	named := *w
	scheme, _, _ := strings.Cut(w.URL, "://")
	named.Host, named.URL = w.NamedHost(), scheme+"://"+w.NamedHost()
	return &named
}

type vouchAnswer struct {
	Content    []byte `json:"content"`
	Credential []byte `json:"credential"`
	Site       string `json:"site"`
	Statement  []byte `json:"statement"`
}

// enrolWithPasskey goes through the three steps of an enrolment.
func enrolWithPasskey(t *testing.T, w *servertest.World, person conclave.PersonID, a *passkeytest.Authenticator) *servertest.Device {
	t.Helper()
	d := w.NewDevice()
	token := w.Link(person)
	code, out := postJSON(t, w, "/v1/enrol/start", map[string]any{"token": token})
	var start struct {
		Site, Attestation, Rule string
		Challenge               []byte
		Algorithms              []int
		Person                  struct{ Name string }
	}
	reread(t, out, &start)
	if code != http.StatusOK || start.Site != "localhost" || len(start.Challenge) != 32 || len(start.Algorithms) != 3 || start.Person.Name == "" {
		t.Fatalf("start: %d %v", code, out)
	}
	request := map[string]any{"token": token, "leaf_key": d.Point, "proof": d.Sign(signal.EnrolContent(token)), "device_name": "Laptop",
		"challenge": start.Challenge, "registration": json.RawMessage(a.Create(start.Challenge))}
	code, out = postJSON(t, w, "/v1/enrol/vouch", request)
	var v vouchAnswer
	reread(t, out, &v)
	if code != http.StatusOK || v.Site != "localhost" || len(v.Content) == 0 {
		t.Fatalf("vouch: %d %v", code, out)
	}
	challenge := pass.VouchChallenge(v.Content)
	request["content"], request["assertion"] = v.Content, json.RawMessage(a.Get(challenge[:]))
	code, out = postJSON(t, w, "/v1/enrol", request)
	reread(t, out, &v)
	if code != http.StatusOK {
		t.Fatalf("enrol: %d %v", code, out)
	}
	d.Statement = v.Statement
	return d
}

func askNonce(t *testing.T, w *servertest.World) []byte {
	t.Helper()
	var n struct{ Nonce []byte }
	_, out := postJSON(t, w, "/v1/nonce", "{}")
	reread(t, out, &n)
	return n.Nonce
}

func TestADeviceIsEnrolledAndRenewedWithAPasskeyOverHTTP(t *testing.T) {
	maker := passkeytest.NewMaker(t)
	metadata, err := passkey.ParseMetadata(maker.Metadata(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	w := byName(servertest.StartWith(t, servertest.Options{Enrolment: identity.Rules{Passkeys: identity.PasskeysRequired, Metadata: metadata}}))
	w.AddPerson("anna", "Anna Weber")
	a := passkeytest.New(t, "localhost", w.URL, maker)
	d := enrolWithPasskey(t, w, "anna", a)
	s, err := w.Organisation.Trust.Statement(d.Statement, time.Now())
	if err != nil || s.Assurance != conclave.AssuranceHardware {
		t.Fatalf("%v, %v", s, err)
	}

	nonce := askNonce(t, w)
	request := map[string]any{"statement": d.Statement, "nonce": nonce, "signature": d.Sign(signal.RenewContent(nonce, d.Statement, w.Host))}
	if _, out := postJSON(t, w, "/v1/renew", request); problemCode(out) != "passkey_wanted" {
		t.Errorf("renewed without a touch: %v", out)
	}
	var v vouchAnswer
	_, out := postJSON(t, w, "/v1/renew/start", request)
	reread(t, out, &v)
	challenge := pass.VouchChallenge(v.Content)
	request["content"], request["assertion"] = v.Content, json.RawMessage(a.Get(challenge[:]))
	if code, out := postJSON(t, w, "/v1/renew", request); code != http.StatusOK {
		t.Errorf("renewal: %v", out)
	}

	// A key that nobody touches for does not do here.
	bare, token := w.NewDevice(), w.Link("anna")
	_, out = postJSON(t, w, "/v1/enrol", map[string]any{"token": token, "leaf_key": bare.Point, "proof": bare.Sign(signal.EnrolContent(token))})
	if problemCode(out) != "passkey_required" {
		t.Errorf("without a passkey: %v", out)
	}
	// A challenge that the server never gave, or long ago, is refused.
	own := make([]byte, 32)
	_, out = postJSON(t, w, "/v1/enrol/vouch", map[string]any{"token": token, "leaf_key": bare.Point, "proof": bare.Sign(signal.EnrolContent(token)),
		"challenge": own, "registration": json.RawMessage(a.Create(own))})
	if problemCode(out) != "passkey_stale" {
		t.Errorf("a challenge of one's own: %v", out)
	}
}

func TestUnderAnAddressNoPasskeyIsOffered(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	if code, out := postJSON(t, w, "/v1/enrol/start", map[string]any{"token": w.Link("anna")}); code != http.StatusOK || out["site"] != "" {
		t.Errorf("%d %v", code, out)
	}
}

func TestAPersonTakesALostDeviceOutOfUseFromAnother(t *testing.T) {
	w := byName(servertest.Start(t))
	w.AddPerson("anna", "Anna Weber")
	w.AddPerson("ben", "Ben")
	a := passkeytest.New(t, "localhost", w.URL, nil)
	own := enrolWithPasskey(t, w, "anna", a)
	lost, bens := w.Enrol("anna"), w.Enrol("ben")

	ask := func(path string, content func(nonce []byte) []byte, more map[string]any) (int, map[string]any) {
		nonce := askNonce(t, w)
		request := map[string]any{"statement": own.Statement, "nonce": nonce, "signature": own.Sign(content(nonce))}
		for k, v := range more {
			if touch, ok := v.(func([]byte) json.RawMessage); ok {
				v = touch(content(nonce))
			}
			request[k] = v
		}
		return postJSON(t, w, path, request)
	}
	list := func() map[string]bool {
		_, out := ask("/v1/devices", func(n []byte) []byte { return signal.DevicesContent(n, own.Statement, w.Host) }, nil)
		var m struct {
			Devices []struct {
				ID      string
				Revoked *time.Time
			}
			Credential string
		}
		reread(t, out, &m)
		if raw, _ := base64.StdEncoding.DecodeString(m.Credential); string(raw) != string(a.ID) {
			t.Error("the list does not say whose touch is asked for")
		}
		devices := map[string]bool{}
		for _, d := range m.Devices {
			devices[d.ID] = d.Revoked != nil
		}
		return devices
	}
	id := func(d *servertest.Device) conclave.DeviceID { return conclave.DeviceOf(d.Point) }
	if got := list(); len(got) != 2 || got[id(lost).Text()] || got[id(own).Text()] {
		t.Errorf("devices: %v", got)
	}
	revoke := func(target conclave.DeviceID, touch any) map[string]any {
		_, out := ask("/v1/devices/revoke", func(n []byte) []byte { return signal.RevokeContent(n, own.Statement, target, w.Host) },
			map[string]any{"device": target.Text(), "assertion": touch})
		return out
	}
	touch := func(content []byte) json.RawMessage {
		c := signal.TouchOf(content)
		return a.Get(c[:])
	}
	if out := revoke(id(lost), nil); problemCode(out) != "passkey_refused" {
		t.Errorf("without a touch: %v", out)
	}
	if out := revoke(id(bens), touch); problemCode(out) != "device_unknown" {
		t.Errorf("another person's: %v", out)
	}
	if out := revoke(id(lost), touch); problemCode(out) != " without a fix" {
		t.Errorf("the own lost one: %v", out)
	}
	if got := list(); !got[id(lost).Text()] || got[id(own).Text()] {
		t.Errorf("devices afterwards: %v", got)
	}
}

func TestANoticeIsToldUntilThePersonHasReadIt(t *testing.T) {
	w := servertest.Start(t)
	first := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	w.Enrol("anna") // another device in her name
	told := func() (*raw, *signal.Notice) {
		t.Helper()
		r := connect(t, w)
		r.hello(first, m)
		expect[*signal.Line](r)
		n := expect[*signal.Notice](r)
		if n.ID == "" || n.Notice.Code != "device_enrolled" {
			t.Fatalf("told %+v", n)
		}
		return r, n
	}
	_, n := told() // the tab is closed before she has seen it
	r, again := told()
	if again.ID != n.ID {
		t.Errorf("another notice: %+v, %+v", n, again)
	}
	// Nobody reads it away for her: not another person, not with another's id.
	other := connect(t, w)
	other.hello(w.Enrol("ben"), m)
	expect[*signal.Line](other)
	other.send(&signal.Read{ID: n.ID})
	r.send(&signal.Read{ID: "device."})
	r.send(&signal.Read{ID: "device.x.y"})
	told()
	r.send(&signal.Read{ID: n.ID})
	waiting := func() int {
		list, err := w.Server.Directory().Notices(t.Context(), conclave.DeviceOf(first.Point))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	wait(t, "the notice to be taken off", 20*time.Second, func() bool { return waiting() == 0 })
	last := connect(t, w)
	last.hello(first, m)
	expect[*signal.Line](last)
	last.send(&signal.Join{})
	expect[*signal.Admitted](last) // and nothing before
}

func TestWhoseFirstDeviceWasAThiefsIsToldAtTheirFirstHello(t *testing.T) {
	w := servertest.Start(t)
	thiefs := w.Enrol("anna") // by the link that was meant for her
	own := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	r := connect(t, w)
	r.hello(own, m)
	expect[*signal.Line](r)
	n := expect[*signal.Notice](r)
	enrolled, err := w.Server.Directory().Device(t.Context(), conclave.DeviceOf(thiefs.Point))
	if err != nil {
		t.Fatal(err)
	}
	if n.Notice.Code != "device_before" || n.Notice.Args["date"] != enrolled.Enrolled.Format(time.RFC3339) || n.Link != "/devices" {
		t.Errorf("told %+v", n)
	}
	// The thief says from theirs that it was read, and by its id too: it waits on hers.
	s := connect(t, w)
	s.hello(thiefs, m)
	expect[*signal.Line](s)
	theirs := expect[*signal.Notice](s)
	s.send(&signal.Read{ID: n.ID})
	s.send(&signal.Read{ID: theirs.ID})
	wait(t, "the thief's own notice to be taken off", 20*time.Second, func() bool {
		list, err := w.Server.Directory().Notices(t.Context(), conclave.DeviceOf(thiefs.Point))
		return err == nil && len(list) == 0
	})
	again := connect(t, w)
	again.hello(own, m)
	expect[*signal.Line](again)
	if got := expect[*signal.Notice](again); got.ID != n.ID {
		t.Errorf("told %+v, then %+v", n, got)
	}
}

func TestACopiedProfileLocksNobodyOut(t *testing.T) {
	maker := passkeytest.NewMaker(t)
	metadata, err := passkey.ParseMetadata(maker.Metadata(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	w := byName(servertest.StartWith(t, servertest.Options{Enrolment: identity.Rules{Metadata: metadata}}))
	w.AddPerson("anna", "Anna")
	hardware := enrolWithPasskey(t, w, "anna", passkeytest.New(t, "localhost", w.URL, maker))
	bare, other := w.Enrol("anna"), w.Enrol("anna")
	old := w.EnrolAt("anna", time.Now().Add(-pass.MaxStatementLife-time.Hour))
	revoke := func(own, target *servertest.Device) string {
		t.Helper()
		nonce, id := askNonce(t, w), conclave.DeviceOf(target.Point)
		_, out := postJSON(t, w, "/v1/devices/revoke", map[string]any{"statement": own.Statement, "nonce": nonce, "device": id.Text(),
			"signature": own.Sign(signal.RevokeContent(nonce, own.Statement, id, w.Host))})
		return problemCode(out)
	}
	if got := revoke(bare, hardware); got != "passkey_none" {
		t.Errorf("one with a passkey, from one without: %s", got)
	}
	if got := revoke(old, other); got != "statement_expired" {
		t.Errorf("from one whose statement has run out: %s", got)
	}
	if got := revoke(bare, other); got != " without a fix" {
		t.Errorf("one without, from one without: %s", got)
	}
}

func TestAPersonsTouchMakesALinkForAFurtherDevice(t *testing.T) {
	w := byName(servertest.Start(t))
	w.AddPerson("anna", "Anna Weber")
	a := passkeytest.New(t, "localhost", w.URL, nil)
	own := enrolWithPasskey(t, w, "anna", a)
	ask := func(d *servertest.Device, touch func(content []byte) json.RawMessage) map[string]any {
		nonce := askNonce(t, w)
		content := signal.LinkContent(nonce, d.Statement, w.Host)
		_, out := postJSON(t, w, "/v1/devices/link", map[string]any{"statement": d.Statement, "nonce": nonce, "signature": d.Sign(content), "assertion": touch(content)})
		return out
	}
	touch := func(content []byte) json.RawMessage {
		c := signal.TouchOf(content)
		return a.Get(c[:])
	}
	none := func([]byte) json.RawMessage { return nil }

	if out := ask(own, none); problemCode(out) != "passkey_refused" {
		t.Errorf("without a touch: %v", out)
	}
	if out := ask(own, func([]byte) json.RawMessage { return touch([]byte("another content")) }); problemCode(out) != "passkey_stale" {
		t.Errorf("with a touch for something else: %v", out)
	}
	// A copied profile signs as well as the original: without a passkey there is no further device.
	if out := ask(w.Enrol("anna"), touch); problemCode(out) != "link_without_passkey" {
		t.Errorf("a device without a passkey: %v", out)
	}

	out := ask(own, touch)
	token, _ := out["token"].(string)
	d := w.NewDevice()
	request := map[string]any{"token": token, "leaf_key": d.Point, "proof": d.Sign(signal.EnrolContent(token)), "device_name": "Phone"}
	if code, out := postJSON(t, w, "/v1/enrol", request); code != http.StatusOK {
		t.Fatalf("the further device: %d %v", code, out)
	}
	devices, err := w.Server.Directory().Devices(t.Context(), "anna")
	if err != nil || len(devices) != 3 {
		t.Errorf("%d devices, %v", len(devices), err)
	}
	// Whoever enrolled by that link is told on which device it was made: a thief may have sent it.
	notices, err := w.Server.Directory().Notices(t.Context(), conclave.DeviceOf(d.Point))
	if err != nil || len(notices) != 2 || notices[0].Notice.Code != "device_link_made" || notices[1].Notice.Code != "device_before" {
		t.Errorf("told %+v, %v", notices, err)
	}
	if code, out := postJSON(t, w, "/v1/enrol", request); code == http.StatusOK || problemCode(out) != "link_used" {
		t.Errorf("a second time: %v", out)
	}

	if _, err := w.Server.Directory().RemovePerson(t.Context(), "anna", time.Now()); err != nil {
		t.Fatal(err)
	}
	if out := ask(own, touch); problemCode(out) != "device_revoked" {
		t.Errorf("one who was struck off: %v", out)
	}
}
