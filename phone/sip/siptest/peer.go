// Package siptest is the other end of a SIP connection, written out octet by octet: for tests of what no client of others can be made
// to do. It knows no more of SIP than these tests need, and takes all that it reads for well-formed.
package siptest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Patience is how long a test waits for what must come, on however busy a machine.
const Patience = 30 * time.Second

// Peer is the other end of a connection, or of a UDP socket.
type Peer struct {
	T    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// New returns a peer on a connection that it closes at the end of the test.
func New(t testing.TB, conn net.Conn) *Peer {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	return &Peer{t, conn, bufio.NewReaderSize(conn, 1<<16)}
}

// At is the peer's own address.
func (p *Peer) At() string { return p.conn.LocalAddr().String() }

// Send writes a message; lines end as the text's do.
func (p *Peer) Send(text string) {
	p.T.Helper()
	if _, err := io.WriteString(p.conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		p.T.Fatal(err)
	}
}

// Read returns the next message: its head and body, one string.
func (p *Peer) Read() string {
	p.T.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(Patience))
	var b strings.Builder
	length := 0
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			p.T.Fatalf("nothing more came: %v; so far %q", err, b.String())
		}
		if b.Len() == 0 && line == "\r\n" {
			continue // between messages: a keep-alive
		}
		b.WriteString(line)
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(p.in, body); err != nil {
		p.T.Fatal(err)
	}
	return b.String() + string(body)
}

// Until reads on until a message begins so.
func (p *Peer) Until(start string) string {
	p.T.Helper()
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
		if m := p.Read(); strings.HasPrefix(m, start) {
			return m
		}
	}
	p.T.Fatalf("no %q came", start)
	return ""
}

// Header returns a header's value in a message.
func Header(message, name string) string {
	for line := range strings.SplitSeq(message, "\r\n") {
		if n, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Reply answers a request, with more lines of head and a body.
func Reply(request, status, head, body string) string {
	to := Header(request, "To")
	if !strings.Contains(to, "tag=") {
		to += ";tag=theirs"
	}
	var via strings.Builder
	for line := range strings.SplitSeq(request, "\r\n") {
		if strings.HasPrefix(line, "Via:") {
			via.WriteString(line + "\n")
		}
	}
	if body != "" {
		head += "Content-Type: application/sdp\n"
	}
	return fmt.Sprintf("SIP/2.0 %s\n%sFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %s\n%sContent-Length: %d\n\n%s", status, via.String(), Header(request, "From"), to,
		Header(request, "Call-ID"), Header(request, "CSeq"), head, len(strings.ReplaceAll(body, "\n", "\r\n")), body)
}

// Ask is a request of a call that this end began: tag is the other end's, "" before there is one.
func (p *Peer) Ask(method string, seq int, call, tag, transport, head, body string) string {
	to := "<sip:door@127.0.0.1>"
	if tag != "" {
		to += ";tag=" + tag
	}
	if body != "" {
		head += "Content-Type: application/sdp\n"
	}
	body = strings.ReplaceAll(body, "[local_ip]", "127.0.0.1")
	return fmt.Sprintf("%s sip:door@127.0.0.1 SIP/2.0\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s%d%s;rport\nFrom: <sip:4930111@127.0.0.1>;tag=mine\nTo: %s\nCall-ID: %s\nCSeq: %d %s\n"+
		"Contact: <sip:x@%s>\nMax-Forwards: 70\n%sContent-Length: %d\n\n%s", method, transport, p.At(), call, seq, method, to, call, seq, method, p.At(), head,
		len(strings.ReplaceAll(body, "\n", "\r\n")), body)
}

// Tag returns the tag that the other end has put into To.
func Tag(message string) string {
	_, tag, _ := strings.Cut(Header(message, "To"), "tag=")
	return tag
}

// Begin makes a call with an offer and acknowledges its answer.
func (p *Peer) Begin(call, transport, head, body string) (tag string) {
	p.T.Helper()
	p.Send(p.Ask("INVITE", 1, call, "", transport, head, body))
	tag = Tag(p.Until("SIP/2.0 200"))
	p.Send(p.Ask("ACK", 1, call, tag, transport, "", ""))
	return tag
}
