//go:build linux && (amd64 || arm64)

package udp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func pair(t *testing.T, listen string) (a, b *Socket, path *Path) {
	t.Helper()
	var sockets [2]*Socket
	for i := range sockets {
		s, err := Listen(netip.MustParseAddrPort(listen))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		sockets[i] = s
	}
	to := netip.MustParseAddr("127.0.0.1")
	if l := netip.MustParseAddrPort(listen).Addr(); l.Is6() && !l.IsUnspecified() {
		to = l
	}
	return sockets[0], sockets[1], &Path{To: AddressOf(netip.AddrPortFrom(to, sockets[1].Port()))}
}

func receive(t *testing.T, s *Socket, size int) (all []Datagram) {
	t.Helper()
	for {
		buffers, into := make([][]byte, MaxReceive), make([]Datagram, MaxReceive)
		for i := range buffers {
			buffers[i] = make([]byte, size)
		}
		n, err := s.Receive(buffers, into, false)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		all = append(all, into[:n]...)
	}
}

func TestDatagramsArriveAsTheyWereAddedHoweverTheyAreBatched(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"} {
		for _, offload := range []bool{true, false} {
			a, b, path := pair(t, listen)
			a.SetOffload(offload && a.Offload())
			batch := NewBatch(a)
			var sent [][]byte
			for i := range 200 {
				size := 100
				if i%17 == 0 || i > 150 {
					size = 50 + i
				}
				sent = append(sent, bytes.Repeat([]byte{byte(i)}, size))
				batch.Add(path, append(batch.Reserve(), sent[i]...))
			}
			batch.Send()
			sends, failed := batch.Counts()
			if failed != 0 || a.Offload() && sends > 120 || !a.Offload() && sends != 200 {
				t.Errorf("%s offload %v: %d sends, %d failed", listen, offload, sends, failed)
			}
			got := receive(t, b, MaxDatagram)
			if len(got) != len(sent) {
				t.Fatalf("%s offload %v: %d of %d arrived", listen, offload, len(got), len(sent))
			}
			for i, d := range got {
				if !bytes.Equal(d.Data, sent[i]) {
					t.Fatalf("%s: datagram %d is another", listen, i)
				}
				if d.From.Port != a.Port() {
					t.Fatalf("%s: from %v", listen, d.From.AddrPort())
				}
			}
		}
	}
}

func TestADatagramTooLongIsNotTakenForAShortOne(t *testing.T) {
	a, b, path := pair(t, "127.0.0.1:0")
	for _, size := range []int{10, 101, 100, 0} {
		if err := a.Write(make([]byte, size), path); err != nil {
			t.Fatal(err)
		}
	}
	got := receive(t, b, 100)
	if len(got) != 4 || len(got[0].Data) != 10 || got[1].Data != nil || len(got[2].Data) != 100 || len(got[3].Data) != 0 {
		t.Fatalf("got %v", got)
	}
}

func TestCloseEndsAReceiveThatWaits(t *testing.T) {
	a, _, path := pair(t, "127.0.0.1:0")
	ended := make(chan error, 1)
	go func() {
		_, err := a.Receive([][]byte{make([]byte, 100)}, make([]Datagram, 1), true)
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Receive: %v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("still waiting")
	}
	if err := a.Write([]byte{1}, path); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Write after Close: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

func TestControlMessagesOfAnyKindAreRead(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 15), make([]byte, 64), bytes.Repeat([]byte{0xff}, 64), {17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0}} {
		if got := parsePktinfo(b); got != (Local{}) {
			t.Errorf("% x: %v", b, got)
		}
	}
}

func FuzzControlMessages(f *testing.F) {
	s := &Socket{pktinfo: true}
	var b [controlSize]byte
	n := s.putControl(&b, Local(netip.MustParseAddr("192.0.2.9").As16()), 100)
	f.Add(b[:n])
	f.Fuzz(func(_ *testing.T, b []byte) { parsePktinfo(b) })
}
