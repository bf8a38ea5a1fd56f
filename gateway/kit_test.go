package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/endpoint/device"
	"conclave/endpoint/headless"
	"conclave/gateway"
	"conclave/identity"
	"conclave/opus"
	"conclave/phone/dsp"
	"conclave/phone/prompt"
	"conclave/phone/sip"
	"conclave/server/servertest"
	"conclave/sfu/slot"
	"conclave/signal"
)

// TestMain runs eight calls beside each other, whatever the number of processors: they spend their time listening.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}

var loopback = netip.MustParseAddr("127.0.0.1")

// builtIn are the recordings as they are.
var builtIn = sync.OnceValue(func() *prompt.Set {
	s, err := prompt.BuiltIn()
	if err != nil {
		panic(err)
	}
	return s
})

// prompts are the built-in recordings, the English warnings and announcements of them cut to their first two seconds: consent counts once the
// ones are out, the caller is heard alone once the others are, and most tests have no reason to hear them to their end.
var prompts = sync.OnceValue(func() *prompt.Set {
	folder := fstest.MapFS{}
	for _, n := range prompt.Names {
		var pcm []int16
		source := builtIn().Source(prompt.English, n)
		for f := (dsp.Frame{}); source.Next(&f); {
			pcm = append(pcm, f[:]...)
		}
		if slices.Contains([]prompt.Name{prompt.Warning, prompt.Hop, prompt.Joined, prompt.JoinedHop, prompt.Whose}, n) {
			pcm = pcm[:min(len(pcm), 2*dsp.Rate)]
		}
		folder["en/"+string(n)+".wav"] = &fstest.MapFile{Data: wav(downsample(pcm, prompt.Rate), prompt.Rate, false)}
	}
	s, err := prompt.Load(folder)
	if err != nil {
		panic(err)
	}
	return s
})

// sentence is the sound of a prompt at 48 kHz.
func sentence(l prompt.Language, n prompt.Name) []int16 {
	var out []int16
	source := prompts().Source(l, n)
	for f := (dsp.Frame{}); source.Next(&f); {
		out = append(out, f[:]...)
	}
	return out
}

// Voices that are neither the gateway's nor each other's: in other languages than the caller hears.
func callersVoice() []int16 { return sentence(prompt.German, prompt.Failed) }
func chairsVoice() []int16  { return sentence(prompt.French, prompt.Removed) }

// house is a real server with a meeting, its chair, and a gateway.
type house struct {
	*servertest.World
	t       *testing.T
	meeting conclave.MeetingID
	chair   *member
	gateway *gateway.Gateway
	sip     map[sip.Network]string
	log     *logBuffer
	stop    func()
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// options change what build builds.
type options struct {
	level  conclave.Level
	door   identity.Door
	change func(*gateway.Config)
	phone  string              // Bert's number in the directory
	voice  []int16             // the chair's; nil: chairsVoice
	people []conclave.PersonID // who is invited beside Anna and Bert
}

// inShort are the tests that -short runs, for the race detector: a telephone that waits at the door, and calls that are changed and ended
// by hand.
var inShort = map[string]bool{
	"TestTheChairDecidesAndNothingPassesBefore":      true,
	"TestAnOfferThatWouldWeakenACallIsRefused":       true,
	"TestACallMayBeTakenBackWhileItsRefusalIsSpoken": true,
	"TestWhatEndsACallAtAnyTimeLeavesNothingBehind":  true,
}

// build makes a house with Anna, the chair, in its meeting, and Bert, who is invited and will call.
func build(t *testing.T, o options) *house {
	t.Helper()
	if name, _, _ := strings.Cut(t.Name(), "/"); testing.Short() && !inShort[name] {
		t.Skip("-short runs a few calls, for the race detector")
	}
	h := &house{World: servertest.Start(t), t: t, log: new(logBuffer), sip: map[sip.Network]string{}}
	h.AddPerson("anna", "Anna Weber")
	if err := h.Server.Directory().AddPerson(context.Background(), identity.Person{ID: "bert", Name: "Bert Maier", Unit: "Field", Phone: o.phone}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if o.door == "" {
		o.door = identity.DoorInvited
	}
	for _, p := range o.people {
		h.AddPerson(p, "")
	}
	h.meeting = h.OpenMeetingWith(identity.Meeting{Title: "Budget", Level: o.level, Chair: "anna", People: append([]conclave.PersonID{"anna", "bert"}, o.people...), Door: o.door})
	if o.voice == nil {
		o.voice = chairsVoice()
	}
	h.chair = h.come("anna", o.voice)
	h.startGateway(o.change)
	return h
}

func (h *house) startGateway(change func(*gateway.Config)) {
	h.t.Helper()
	token, err := h.Server.Directory().IssueGatewayToken(context.Background(), "Gateway", rand.Reader, time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	key, err := gateway.Enrol(context.Background(), fmt.Sprintf("%s/gateway#e=%s&r=%s", h.URL, token.Text(), h.Organisation.RootHash()), nil, time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	certificate := newCertificate(h.t)
	c := gateway.Config{
		Server: h.URL, Key: key, Media: loopback, Prompts: prompts(), Language: prompt.English, EarlyMedia: true,
		Listeners: []sip.Listener{
			{Network: sip.UDP, Address: netip.AddrPortFrom(loopback, 0)},
			{Network: sip.TCP, Address: netip.AddrPortFrom(loopback, 0)},
			{Network: sip.TLS, Address: netip.AddrPortFrom(loopback, 0), Certificate: certificate},
		},
		Trunks: []sip.Trunk{{Name: "pbx", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}},
		Log:    slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	if h.gateway, err = gateway.New(c); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.gateway.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				h.t.Errorf("gateway: %v", err)
			}
		case <-time.After(30 * time.Second):
			h.t.Error("the gateway does not end")
		}
	})
	h.t.Cleanup(func() {
		h.stop()
		if h.t.Failed() {
			h.t.Logf("gateway's log:\n%s", h.log)
		}
	})
	<-h.gateway.Ready()
	for i, l := range c.Listeners {
		h.sip[l.Network] = h.gateway.Stack().Addresses()[i].String()
	}
	h.until("the server to know the gateway", h.gateway.Connected)
}

func (h *house) until(what string, holds func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("waited for %s in vain", what)
		}
	}
}

// admin asks the administrator's side for something that needs no words.
func (h *house) admin(path string) {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.Server.AdminHandler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		h.t.Fatalf("%s: %s", path, w.Body)
	}
}

// ask asks for the meeting with a statement and a key, and returns what stands in the way.
func (h *house) ask(statement []byte, sign func([]byte) []byte) []conclave.Problem {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	dial, host, err := endpoint.Dial(h.URL, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	conn, err := dial(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	for {
		frame, err := conn.Read(ctx)
		if err != nil {
			h.t.Fatal(err)
		}
		m, err := signal.Decode(frame, signal.FromServer)
		if err != nil {
			h.t.Fatal(err)
		}
		switch m := m.(type) {
		case *signal.Challenge:
			hello := &signal.Hello{Meeting: h.meeting, Statement: statement, Signature: sign(signal.HelloContent(m.Nonce, h.meeting, host, signal.Client{Kind: "phone"})), Client: signal.Client{Kind: "phone"}}
			if err := conn.Write(ctx, signal.Encode(hello)); err != nil {
				h.t.Fatal(err)
			}
		case *signal.Line:
			if m.Enough {
				h.t.Error("it would be let in")
			}
			return m.Findings
		case *signal.Refused:
			return m.Reasons
		}
	}
}

// code issues a phone code for Bert.
func (h *house) code() string {
	h.t.Helper()
	return h.codeFor("bert")
}

// codeFor issues a phone code for a person.
func (h *house) codeFor(person conclave.PersonID) string {
	h.t.Helper()
	code, _, err := h.Server.Directory().IssuePhoneCode(context.Background(), person, h.meeting, 0, rand.Reader, time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	return code
}

// records counts records of a kind with an outcome ("" for any).
func (h *house) records(kind audit.Kind, outcome string) (n int) {
	for _, e := range h.Records() {
		if e.Record.Kind == kind && (outcome == "" || e.Record.Outcome == outcome) {
			n++
		}
	}
	return n
}

// member is an ordinary headless endpoint that says one thing again and again, and keeps what it hears of each leaf.
type member struct {
	*headless.Client
	voice [][]byte
	next  int

	mu      sync.Mutex // guards all below
	state   endpoint.State
	roster  *endpoint.RosterEvent
	notices []string
	alarms  []string
	failed  []string // why what was asked for did not come to be
	letIn   bool     // the chair lets everybody in
	decoder map[uint32]*opus.Decoder
	heard   map[uint32][]int16
}

// come has a person join with an enrolled device.
func (h *house) come(person conclave.PersonID, voice []int16) *member {
	h.t.Helper()
	link, err := device.ParseLink(fmt.Sprintf("%s/m/%s#e=%s&r=%s", h.URL, h.meeting.Text(), h.Link(person), h.Organisation.RootHash()))
	if err != nil {
		h.t.Fatal(err)
	}
	d, err := device.Enrol(context.Background(), http.DefaultClient, link, "Test", time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	dial, host, err := endpoint.Dial(h.URL, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	m := &member{letIn: true, decoder: map[uint32]*opus.Decoder{}, heard: map[uint32][]int16{}}
	if voice != nil {
		e, err := opus.NewEncoder(opus.Config{})
		if err != nil {
			h.t.Fatal(err)
		}
		for len(voice) >= opus.FrameSamples {
			b, err := e.Encode(nil, voice[:opus.FrameSamples])
			if err != nil {
				h.t.Fatal(err)
			}
			m.voice, voice = append(m.voice, b), voice[opus.FrameSamples:]
		}
		e.Close()
	}
	m.Client, err = headless.New(headless.Config{Sound: m, Heard: m.hear, Endpoint: endpoint.Config{Dial: dial, Host: host, Identity: d.Identity(),
		Organisation: d.Organisation, Root: d.Root, Meeting: h.meeting, Client: signal.Client{Kind: "headless", Name: "test", Version: "0"}, Emit: m.event}})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	h.t.Cleanup(func() { cancel(); <-done })
	h.until(string(person)+" to be in", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.state == endpoint.StateIn })
	return m
}

// Next implements headless.Sound.
func (m *member) Next() []byte {
	if len(m.voice) == 0 {
		return nil
	}
	m.next++
	return m.voice[m.next%len(m.voice)]
}

func (m *member) event(e endpoint.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case e.State != nil:
		m.state = e.State.State
		if m.state == endpoint.StateChecked {
			m.Join(nil)
		}
	case e.Roster != nil:
		m.roster = e.Roster
		for _, g := range e.Roster.Waiting {
			if m.letIn {
				m.Decide(g.Leg, true)
			}
		}
	case e.Notice != nil:
		m.notices = append(m.notices, e.Notice.Notice.Code)
	case e.Failed != nil:
		m.failed = append(m.failed, e.Failed.Reason.Code)
	case e.Alarm != nil:
		m.alarms = append(m.alarms, e.Alarm.Problem.Code)
	}
}

func (m *member) hear(f headless.Frame) {
	if f.Kind != slot.Microphone {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.decoder[f.Leaf]
	if d == nil {
		d, _ = opus.NewDecoder()
		m.decoder[f.Leaf] = d
	}
	if pcm, err := d.Decode(f.Data); err == nil {
		m.heard[f.Leaf] = append(m.heard[f.Leaf], pcm...)
	}
}

// phone returns the phone leg of the roster, nil if there is none.
func (m *member) phone() *endpoint.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.roster == nil {
		return nil
	}
	for i := range m.roster.Members {
		if one := m.roster.Members[i]; one.Kind == "phone" {
			return &one
		}
	}
	return nil
}

// all returns what was heard of everybody else, one after the other.
func (m *member) all() (out []int16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, pcm := range m.heard {
		out = append(out, pcm...)
	}
	return out
}

func (m *member) told(notice string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.notices {
		if n == notice {
			return true
		}
	}
	return false
}

// baresip is a telephone that nobody here made. Its keys are pressed on its standard input; what it hears lies in a file.
type baresip struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *logBuffer
}

// line says how a telephone calls.
type line struct {
	network sip.Network
	codec   string // "PCMA/8000/1", "G722/16000/1", "opus/48000/2"
	rate    int
	stereo  bool
	media   string // "", "srtp-mand", "dtls_srtpf"
	from    *tls.Certificate
	port    int    // to be rung on; 0: any
	user    string // under which it is rung; "": 493011122
}

var pcma = line{network: sip.UDP, codec: "PCMA/8000/1", rate: 8000}

// newPhone starts a telephone whose owner says voice again and again.
func newPhone(t *testing.T, l line, voice []int16) *baresip {
	t.Helper()
	if _, err := exec.LookPath("baresip"); err != nil {
		t.Skip("needs baresip: scripts/need-test installs it")
	}
	dir := t.TempDir()
	// baresip hangs up when its owner has nothing more to say: five minutes are more than any test takes.
	once := downsample(voice, l.rate)
	if len(once) == 0 {
		once = make([]int16, l.rate)
	}
	var loop []int16
	for len(loop) < 300*l.rate {
		loop = append(loop, once...)
	}
	write(t, filepath.Join(dir, "in.wav"), wav(loop, l.rate, l.stereo))
	modules := "/usr/lib/baresip/modules"
	found, _ := filepath.Glob("/usr/lib/*/baresip/modules")
	if len(found) > 0 {
		modules = found[0]
	}
	config := fmt.Sprintf("poll_method epoll\nsip_listen 127.0.0.1:%d\ncall_local_timeout 60\naudio_player aufile,%s\naudio_source aufile,%s\naudio_alert aufile,%s\n"+
		"audio_buffer 20-160\nrtp_tos 184\njitter_buffer_delay 2-10\nmodule_path %s\nsnd_path %s\nopus_bitrate 32000\nopus_stereo no\n",
		l.port, filepath.Join(dir, "out.wav"), filepath.Join(dir, "in.wav"), filepath.Join(dir, "alert.wav"), modules, dir)
	if l.from != nil {
		key, err := x509.MarshalPKCS8PrivateKey(l.from.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.from.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
		write(t, filepath.Join(dir, "certificate.pem"), both)
		config += "sip_certificate " + filepath.Join(dir, "certificate.pem") + "\n"
	}
	for _, m := range []string{"stdio.so", "g711.so", "g722.so", "opus.so", "aufile.so", "sndfile.so", "srtp.so", "dtls_srtp.so"} {
		config += "module " + m + "\n"
	}
	config += "module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\n"
	write(t, filepath.Join(dir, "config"), []byte(config))
	user := "493011122"
	if l.user != "" {
		user = l.user
	}
	account := fmt.Sprintf("<sip:%s@127.0.0.1;transport=%s>;regint=0;audio_codecs=%s;answermode=auto", user, l.network, l.codec)
	if l.media != "" {
		account += ";mediaenc=" + l.media
	}
	write(t, filepath.Join(dir, "accounts"), []byte(account+"\n"))
	write(t, filepath.Join(dir, "contacts"), nil)
	b := &baresip{t: t, dir: dir, out: new(logBuffer)}
	b.cmd = exec.Command("baresip", "-4", "-n", "127.0.0.1", "-f", dir)
	b.cmd.Dir = dir
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.out
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.close()
		if t.Failed() {
			t.Logf("baresip:\n%.6000s", b.out)
		}
	})
	b.until("ready")
	return b
}

func (b *baresip) close() {
	b.in.Close()
	done := make(chan struct{})
	go func() { b.cmd.Wait(); close(done) }()
	b.cmd.Process.Signal(os.Interrupt)
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		b.cmd.Process.Kill()
		<-done
	}
}

// until waits until baresip has written a text.
func (b *baresip) until(text string) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(b.out.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the telephone never said %q", text)
		}
	}
}

func (b *baresip) dial(h *house, l line, number string) {
	fmt.Fprintf(b.in, "/dial sip:%s@%s;transport=%s\n", number, h.sip[l.network], l.network)
}

// press presses keys, as fast as a quick finger.
func (b *baresip) press(keys string) {
	for i := range len(keys) {
		io.WriteString(b.in, keys[i:i+1])
		time.Sleep(120 * time.Millisecond)
		io.WriteString(b.in, "\x04") // the key goes up
		time.Sleep(80 * time.Millisecond)
	}
}

// moved counts how often a call has come into a state, by the gateway's log.
func (h *house) moved(state string) int { return strings.Count(h.log.String(), `"state":"`+state+`"`) }

// once does something and waits until a call has come into a state after it.
func (h *house) once(state string, do func()) {
	h.t.Helper()
	before := h.moved(state)
	do()
	h.until("a call to be in "+state, func() bool { return h.moved(state) > before })
}

func (b *baresip) hangUp() { io.WriteString(b.in, "/hangup\n") }

// heard returns what was heard so far, at 8 kHz. baresip writes the lengths into the file's head at its end, so they are not
// believed.
func (b *baresip) heard() []int16 {
	b.t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "*-dec.wav"))
	if len(files) == 0 {
		return nil
	}
	return recording(files[len(files)-1]) // of the last call
}

// recording reads a WAV file as sound at 8 kHz.
func recording(name string) []int16 {
	raw, err := os.ReadFile(name)
	if err != nil || len(raw) < 44 {
		return nil
	}
	channels, rate := int(binary.LittleEndian.Uint16(raw[22:])), int(binary.LittleEndian.Uint32(raw[24:]))
	if rate < 8000 || channels < 1 || channels > 2 { // Linphone writes its head at the end
		channels, rate = 1, 48000
	}
	at := max(bytes.Index(raw, []byte("data")), 36)
	var pcm []int16
	for i := at + 8; i+2*channels <= len(raw); i += 2 * channels {
		pcm = append(pcm, int16(binary.LittleEndian.Uint16(raw[i:])))
	}
	var out []int16
	for step, i := rate/8000, 0; i < len(pcm); i += step { // good enough to compare by
		sum := 0
		for j := i; j < min(i+step, len(pcm)); j++ {
			sum += int(pcm[j])
		}
		out = append(out, int16(sum/step))
	}
	return out
}

// hears waits until a sentence was heard.
func (b *baresip) hears(l prompt.Language, n prompt.Name) {
	b.t.Helper()
	said, best, looked := downsample(sentence(l, n), 8000), 0.0, 0
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(600 * time.Millisecond) {
		all := b.heard()
		// To look through all again and again would take the time that the calls need. There is less than before where another call began.
		fresh := all[max(0, len(all)-20*8000, min(looked, len(all))-2*8000):]
		looked = len(all)
		if best = max(best, like(said, fresh)); best > 0.8 {
			b.t.Logf("heard %s/%s: correlation %.3f", l, n, best)
			return
		}
	}
	b.t.Fatalf("%s/%s was not heard: correlation %.3f", l, n, best)
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
