package siptest

import (
	"bytes"
	"fmt"
	"math/rand"
	"strings"
	"sync/atomic"
)

// Offer is an offer of G.711 in the clear.
const Offer = "v=0\no=user1 53655765 2353687637 IN IP4 [local_ip]\ns=-\nc=IN IP4 [local_ip]\nt=0 0\nm=audio 6000 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"

var number atomic.Uint64

// Message is a request of a call that nobody has made before, from an address and port, over UDP.
func Message(method, from string) string {
	n := number.Add(1)
	body := strings.NewReplacer("[local_ip]", "127.0.0.1", "\n", "\r\n").Replace(Offer)
	return fmt.Sprintf("%s sip:door@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d;rport\r\nFrom: <sip:4930111@127.0.0.1>;tag=f%d\r\nTo: <sip:door@127.0.0.1>\r\nCall-ID: c%d\r\nCSeq: 1 %s\r\nContact: <sip:x@%s>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
		method, from, n, n, n, method, from, len(body), body)
}

// methods are what mutated messages ask for: calls above all.
var methods = []string{"INVITE", "INVITE", "INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "OPTIONS", "REFER", "REGISTER", "PRACK", "INFO"}

// Mutated is a Message of any method, changed as a fuzzer would: bytes, lines, lengths.
func Mutated(r *rand.Rand, from string) []byte {
	b := []byte(Message(methods[r.Intn(len(methods))], from))
	for range 1 + r.Intn(4) {
		lines := bytes.Split(b, []byte("\r\n"))
		switch i := r.Intn(len(lines)); r.Intn(7) {
		case 0:
			lines = append(lines[:i], lines[i+1:]...)
		case 1:
			lines[i] = append(lines[i], lines[i]...)
		case 2:
			if len(lines[i]) > 0 {
				lines[i] = lines[i][:r.Intn(len(lines[i]))]
			}
		case 3:
			if len(lines[i]) > 0 {
				lines[i] = bytes.Clone(lines[i])
				lines[i][r.Intn(len(lines[i]))] = byte(r.Intn(256))
			}
		case 4:
			lines[i] = append(bytes.Clone(lines[i]), bytes.Repeat([]byte("A"), r.Intn(300))...)
		case 5:
			j := r.Intn(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
		case 6:
			lines[i] = bytes.ReplaceAll(lines[i], []byte(":"), []byte(";,<\x00"))
		}
		b = bytes.Join(lines, []byte("\r\n"))
	}
	return b
}
