//go:build linux

package sfu_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"conclave"
	"conclave/endpoint/media"
	"conclave/sfu"
	"conclave/sfu/slot"
)

// BenchmarkForward measures what one forwarded packet costs the server: user and system time of a server process of its
// own (getrusage), divided by the packets that its clients have opened. The clients are real: ICE, DTLS, SRTP, all in this
// process. The same clients are then served by a plain fan-out of pion's TrackLocalStaticRTP with pion's defaults. Figures of one
// run may be compared with each other, not with those of another machine.
//
//	go test ./sfu -run '^$' -bench Forward -benchtime 1x
//
// ns/packet: server CPU; of-plain: divided by plain's (a quarter is 0.25); ms-delay: median from sending to
// opening; lost-%: packets that did not arrive; packets/send: packets per message to the kernel.
func BenchmarkForward(b *testing.B) {
	for _, s := range []struct{ publishers, legs int }{{10, 100}, {40, 50}} {
		plain := 0.0
		for _, server := range []string{"plain", "at-once", "gather-5ms"} {
			b.Run(fmt.Sprintf("%dto%d/%s", s.publishers, s.legs, server), func(b *testing.B) {
				for range b.N {
					r := load(b, server, s.publishers, s.legs)
					if server == "plain" {
						plain = r.perPacket
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(r.perPacket, "ns/packet")
					b.ReportMetric(r.delay.Seconds()*1000, "ms-delay")
					b.ReportMetric(r.lost*100, "lost-%")
					b.ReportMetric(r.memory/1024, "KB/leg")
					if r.packetsPerSend > 0 {
						b.ReportMetric(r.packetsPerSend, "packets/send")
					}
					if plain > 0 {
						b.ReportMetric(r.perPacket/plain, "of-plain")
					}
				}
			})
		}
	}
}

const benchServer = "CONCLAVE_BENCH_SERVER" // set: this process is a server for a benchmark

func TestMain(m *testing.M) {
	if kind := os.Getenv(benchServer); kind != "" {
		if err := serveBench(kind, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The benchmark's two processes speak JSON lines: a request with one field, an answer.
type benchRequest struct {
	Leg   int          `json:"leg"`
	Offer *media.Local `json:"offer,omitempty"` // nil: ask for the usage
	Sends int          `json:"sends"`           // publishers in the room, known beforehand
}

type benchAnswer struct {
	Remote    *media.Remote
	CPU       time.Duration
	RSS       int64
	Sends     uint64
	Forwarded uint64
}

// benchBackend is a server under measurement.
type benchBackend interface {
	connect(leg int, l media.Local, publishers int) (media.Remote, error)
	counts() (sends, forwarded uint64)
}

func serveBench(kind string, in io.Reader, out io.Writer) error {
	var backend benchBackend
	switch kind {
	case "plain":
		backend = new(plainServer)
	case "at-once", "gather-5ms":
		gather := 5 * time.Millisecond
		if kind == "at-once" {
			gather = -1
		}
		s, err := sfu.New(sfu.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), MaxGather: gather}, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		go s.Run(context.Background())
		room, err := s.OpenRoom(conclave.MeetingID{1}, slot.Plan{Audio: 40, Camera: 1, Screen: 1}, nil)
		if err != nil {
			return err
		}
		backend = &ownServer{s, room}
	}
	lines, answers := bufio.NewScanner(in), json.NewEncoder(out)
	for lines.Scan() {
		var q benchRequest
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		var a benchAnswer
		if q.Offer != nil {
			remote, err := backend.connect(q.Leg, *q.Offer, q.Sends)
			if err != nil {
				return err
			}
			a.Remote = &remote
		} else {
			var u unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
				return err
			}
			a.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
			a.Sends, a.Forwarded = backend.counts()
			var pages int64
			statm, err := os.ReadFile("/proc/self/statm")
			if err != nil {
				return err
			}
			fmt.Sscan(string(statm), new(int64), &pages)
			a.RSS = pages * int64(os.Getpagesize())
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

type ownServer struct {
	sfu  *sfu.SFU
	room *sfu.Room
}

func (s *ownServer) connect(leg int, l media.Local, _ int) (media.Remote, error) {
	id := conclave.LegID{1, byte(leg)}
	c, err := s.room.Credentials(id)
	if err != nil {
		return media.Remote{}, err
	}
	if err := s.room.Connect(id, offer(l)); err != nil {
		return media.Remote{}, err
	}
	return media.Remote{Ufrag: c.Ufrag, Password: c.Password, Fingerprint: s.sfu.Fingerprint(), Candidates: s.sfu.Candidates()}, s.room.Admit(id)
}

func (s *ownServer) counts() (uint64, uint64) {
	stats := s.sfu.Stats()
	return stats.Sends, stats.Forwarded
}

type benchResult struct {
	perPacket      float64 // ns
	delay          time.Duration
	lost           float64
	memory         float64 // bytes a leg
	packetsPerSend float64
}

const (
	benchWarm = 1500 * time.Millisecond
	benchFor  = 6 * time.Second
)

// load runs one server process with so many legs, of which the first send constant-rate audio.
func load(b *testing.B, server string, publishers, legs int) (r benchResult) {
	b.Helper()
	ask := startServer(b, server)
	certificate, err := media.NewCertificate()
	if err != nil {
		b.Fatal(err)
	}
	poll := newPoller(b)
	empty := ask(benchRequest{})
	began := time.Now()
	var delays delays
	clients := make([]*media.Transport, legs)
	for i := range clients {
		config := media.Config{Microphone: i < publishers, Certificate: &certificate, Foreign: server == "plain"}
		config.Packet = func(p media.Packet) {
			if len(p.Payload) >= 16 && p.Index%32 == 0 {
				delays.add(time.Since(began) - time.Duration(binary.BigEndian.Uint64(p.Payload)))
			}
		}
		socket := poll.socket(b)
		config.Socket = socket
		if clients[i], err = media.New(config); err != nil {
			b.Fatal(err)
		}
		poll.add(socket, clients[i])
		defer clients[i].Close()
		local := clients[i].Local()
		answer := ask(benchRequest{Leg: i, Offer: &local, Sends: publishers})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := clients[i].Connect(ctx, *answer.Remote)
		cancel()
		if err != nil {
			b.Fatalf("leg %d: %v", i, err)
		}
	}
	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { speak(clients[:publishers], began, stop) })
	defer func() { close(stop); sender.Wait() }()
	received := func() (n, sent uint64) {
		for _, c := range clients {
			s := c.Stats()
			n, sent = n+s.Received, sent+s.Sent
		}
		return n, sent
	}
	time.Sleep(benchWarm)
	delays.reset()
	before := ask(benchRequest{})
	n0, sent0 := received()
	time.Sleep(benchFor)
	after := ask(benchRequest{})
	n1, sent1 := received()
	n, want := float64(n1-n0), float64(sent1-sent0)*float64(legs-1)
	if n < want/10 {
		b.Fatalf("%s: only %.0f of %.0f packets arrived", server, n, want)
	}
	r.perPacket = float64(after.CPU-before.CPU) / n
	r.lost = max(0, 1-n/want)
	r.delay = delays.median()
	r.memory = float64(after.RSS-empty.RSS) / float64(legs)
	if sends := after.Sends - before.Sends; sends > 0 {
		r.packetsPerSend = float64(after.Forwarded-before.Forwarded) / float64(sends)
	}
	return r
}

// speak sends 50 packets a second for each client, each at a time of its own within the 20 ms, as people do.
func speak(clients []*media.Transport, began time.Time, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(1, 2))
	type voice struct {
		due time.Duration
		ts  uint32
		c   *media.Transport
	}
	voices := make([]voice, len(clients))
	for i, c := range clients {
		voices[i] = voice{due: time.Since(began) + time.Duration(random.IntN(20_000))*time.Microsecond, c: c}
	}
	slices.SortFunc(voices, func(a, b voice) int { return int(a.due - b.due) })
	payload := make([]byte, 106) // header, Opus, tag and loudness of a sealed frame
	for {
		for i := range voices {
			v := &voices[i]
			if wait := v.due - time.Since(began); wait > 0 {
				time.Sleep(wait)
			}
			select {
			case <-stop:
				return
			default:
			}
			binary.BigEndian.PutUint64(payload, uint64(time.Since(began)))
			v.c.Send(slot.Microphone, payload, v.ts, false)
			v.ts += 960
			v.due += 20 * time.Millisecond
		}
	}
}

// delays is a bounded sample.
type delays struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *delays) add(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) < 1<<16 {
		d.all = append(d.all, t)
	}
}

func (d *delays) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = d.all[:0]
}

func (d *delays) median() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return 0
	}
	slices.Sort(d.all)
	return d.all[len(d.all)/2]
}

// startServer starts this binary as a server and returns how to ask it.
func startServer(b *testing.B, kind string) func(benchRequest) benchAnswer {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	questions, answers := json.NewEncoder(in), json.NewDecoder(out)
	return func(q benchRequest) (a benchAnswer) {
		b.Helper()
		if err := questions.Encode(q); err != nil {
			b.Fatal(err)
		}
		if err := answers.Decode(&a); err != nil {
			b.Fatalf("%s server: %v", kind, err)
		}
		return a
	}
}
