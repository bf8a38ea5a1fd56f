package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// path is where the other end's packets come from and ours go to.
type path struct {
	signalled netip.AddrPort // as its SDP says
	peer      netip.Addr     // where its SIP came from
	remote    netip.AddrPort // where packets are sent; not valid: nowhere
	taken     bool           // a clear packet was accepted
	settled   bool           // the signalled address has spoken
}

// clear says whether a clear packet from an address may be taken, and follows it if so. Anybody may send such a packet, so
// the rule gives away as little as a NAT before the other end allows: the signalled address may always speak; until it
// does, whoever is first, of the other end's own IP addresses, stands in for it; and once one has spoken, none but the
// signalled address can take its place. Who is first on the same IP, or forges its source, still wins: a clear leg is never to be trusted.
func (p *path) clear(from netip.AddrPort) bool {
	switch {
	case from == p.signalled:
		p.settled = true
	case p.settled:
		return false
	case p.taken:
		return from == p.remote
	case !p.near(from.Addr()):
		return false
	}
	p.taken, p.remote = true, from
	return true
}

// near says whether an address is one of the other end's as far as its SIP and SDP tell.
func (p *path) near(a netip.Addr) bool {
	return p.signalled.IsValid() && a == p.signalled.Addr() || p.peer.IsValid() && a == p.peer
}

// authentic follows a packet that was authenticated, if it is the newest: an old one, held back by somebody, moves nothing.
func (p *path) authentic(from netip.AddrPort, newest bool) {
	if newest {
		p.remote = from
	}
}

// bind takes a free pair of ports, beginning at a random one so that a port says nothing about the number of calls.
func bind(local netip.Addr, ports Ports, rand io.Reader) (rtp, rtcp *net.UDPConn, err error) {
	var seed [4]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, nil, fmt.Errorf("media: choose port: %v", err)
	}
	if ports == (Ports{}) {
		return bindAny(local)
	}
	first := (uint32(ports.First) + 1) &^ 1
	if uint32(ports.Last) < first+1 {
		return nil, nil, errors.New("media: port range without a pair of ports")
	}
	pairs := (uint32(ports.Last) + 1 - first) / 2
	start := binary.BigEndian.Uint32(seed[:]) % pairs
	for i := range pairs {
		port := uint16(first + 2*((start+i)%pairs))
		if rtp, rtcp = bindPair(local, port); rtp != nil {
			return rtp, rtcp, nil
		}
	}
	return nil, nil, ErrPorts
}

// bindAny lets the system choose, until the choice is even and the next port is free.
func bindAny(local netip.Addr) (rtp, rtcp *net.UDPConn, err error) {
	for range 50 {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		if err != nil {
			return nil, nil, fmt.Errorf("media: bind: %v", err)
		}
		port := localPort(c)
		c.Close()
		if rtp, rtcp = bindPair(local, port&^1); rtp != nil {
			return rtp, rtcp, nil
		}
	}
	return nil, nil, ErrPorts
}

func bindPair(local netip.Addr, port uint16) (rtp, rtcp *net.UDPConn) {
	rtp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, port)))
	if err != nil {
		return nil, nil
	}
	rtcp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, port+1)))
	if err != nil {
		rtp.Close()
		return nil, nil
	}
	return rtp, rtcp
}

func localPort(c *net.UDPConn) uint16 {
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return 0
	}
	return uint16(a.Port)
}
