package server

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestOneAddressCannotHoldAllConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: inner, exempt: func(netip.Addr) bool { return false }, limit: 3, open: make(map[netip.Prefix]int)}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var held []net.Conn
	for range 3 {
		dial("127.0.0.1")
		held = append(held, <-accepted)
	}
	fourth := dial("127.0.0.1")
	fourth.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := fourth.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the fourth connection is not closed: %v", err)
	}
	dial("127.0.0.2")
	(<-accepted).Close()
	held[0].Close()
	held[0].Close() // gives one place back, not two
	dial("127.0.0.1")
	<-accepted
	fifth := dial("127.0.0.1")
	fifth.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := fifth.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("closing twice gave two places: %v", err)
	}
	l.mu.Lock()
	if len(l.open) != 1 {
		t.Errorf("%d addresses are remembered, one has connections", len(l.open))
	}
	l.mu.Unlock()
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout() && err != io.EOF
}
