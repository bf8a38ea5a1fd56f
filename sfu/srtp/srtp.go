// Package srtp seals and opens SRTP and SRTCP packets with the AEAD transforms of RFC 7714, and nothing else: no key
// identifiers, no header encryption, no other ciphers. It exists beside pion/srtp because a forwarding server keeps the
// packet index itself (one per receiver and stream) and must seal without allocating, without a map look-up and without
// parsing the header it has just written. Both ends of the hop use it: the server and the native client. A test holds
// it against pion/srtp.
//
// Sealer and Opener have scratch space inside: each belongs to one goroutine.
package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

// Profile is a DTLS-SRTP protection profile (RFC 7714, Section 14.2).
type Profile uint16

// The profiles that are spoken, the preferred one first.
const (
	AES128GCM Profile = 0x0007
	AES256GCM Profile = 0x0008
)

const (
	// TagSize is what a sealed RTP packet is longer than its plaintext.
	TagSize = 16
	// RTCPOverhead is what a sealed RTCP packet is longer than its plaintext: tag and index.
	RTCPOverhead = TagSize + 4

	saltSize       = 12
	rtcpHeaderSize = 8
	encrypted      = 1 << 31 // E flag before the 31-bit SRTCP index
	exporterLabel  = "EXTRACTOR-dtls_srtp"
)

// Key derivation labels (RFC 3711, Section 4.3.2).
const (
	labelRTPKey   = 0
	labelRTPSalt  = 2
	labelRTCPKey  = 3
	labelRTCPSalt = 5
)

// The errors of Open. They say nothing of why: a peer that sends such a packet is owed no explanation.
var (
	ErrProfile = errors.New("srtp: profile not spoken")
	ErrOpen    = errors.New("srtp: packet does not open")
	ErrReplay  = errors.New("srtp: packet seen before or too old")
)

func (p Profile) keySize() int {
	switch p {
	case AES128GCM:
		return 16
	case AES256GCM:
		return 32
	}
	return 0
}

// Exporter gives TLS keying material (RFC 5705); *dtls.State is one.
type Exporter interface {
	ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error)
}

// Key is a master key and salt for one direction.
type Key struct {
	_       [0]func()
	profile Profile
	key     []byte
	salt    []byte
}

// Keys takes both directions' master keys out of a finished DTLS handshake (RFC 5764, Section 4.2).
func Keys(p Profile, e Exporter) (client, server Key, err error) {
	n := p.keySize()
	if n == 0 {
		return Key{}, Key{}, ErrProfile
	}
	b, err := e.ExportKeyingMaterial(exporterLabel, nil, 2*(n+saltSize))
	if err != nil {
		return Key{}, Key{}, fmt.Errorf("srtp: export keys: %v", err)
	}
	client = Key{profile: p, key: b[:n], salt: b[2*n : 2*n+saltSize]}
	server = Key{profile: p, key: b[n : 2*n], salt: b[2*n+saltSize:]}
	return client, server, nil
}

// Wipe overwrites the key. The Sealer or Opener made from it goes on.
func (k *Key) Wipe() {
	clear(k.key)
	clear(k.salt)
}

// transform is one direction's session keys.
type transform struct {
	rtp, rtcp         cipher.AEAD
	rtpSalt, rtcpSalt [saltSize]byte
	iv                [saltSize]byte // scratch: an array on the stack would escape through cipher.AEAD
	aad               [rtcpHeaderSize + 4]byte
}

func (t *transform) init(k Key) error {
	if len(k.key) != k.profile.keySize() || len(k.key) == 0 || len(k.salt) != saltSize {
		return ErrProfile
	}
	master, err := aes.NewCipher(k.key)
	if err != nil {
		return fmt.Errorf("srtp: master key: %v", err)
	}
	derive := func(label byte, out []byte) {
		// RFC 3711, Section 4.3.3 with a key derivation rate of 0: AES counter mode over salt xor label.
		var in, block [aes.BlockSize]byte
		copy(in[:], k.salt)
		in[7] ^= label
		for i := 0; i*aes.BlockSize < len(out); i++ {
			binary.BigEndian.PutUint16(in[14:], uint16(i))
			master.Encrypt(block[:], in[:])
			copy(out[i*aes.BlockSize:], block[:])
		}
	}
	aead := func(label byte) (cipher.AEAD, error) {
		key := make([]byte, len(k.key))
		defer clear(key)
		derive(label, key)
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}
	if t.rtp, err = aead(labelRTPKey); err != nil {
		return fmt.Errorf("srtp: session key: %v", err)
	}
	if t.rtcp, err = aead(labelRTCPKey); err != nil {
		return fmt.Errorf("srtp: session key: %v", err)
	}
	derive(labelRTPSalt, t.rtpSalt[:])
	derive(labelRTCPSalt, t.rtcpSalt[:])
	return nil
}

// rtpIV is RFC 7714, Section 8.1: salt xor (0, SSRC, ROC, SEQ); ROC and SEQ are the low 48 bits of index.
func (t *transform) rtpIV(ssrc uint32, index uint64) []byte {
	iv, salt := &t.iv, &t.rtpSalt
	iv[0], iv[1] = salt[0], salt[1]
	binary.BigEndian.PutUint32(iv[2:], binary.BigEndian.Uint32(salt[2:])^ssrc)
	binary.BigEndian.PutUint32(iv[6:], binary.BigEndian.Uint32(salt[6:])^uint32(index>>16))
	binary.BigEndian.PutUint16(iv[10:], binary.BigEndian.Uint16(salt[10:])^uint16(index))
	return iv[:]
}

// rtcpIV is RFC 7714, Section 9.1.
func (t *transform) rtcpIV(ssrc, index uint32) []byte {
	iv, salt := &t.iv, &t.rtcpSalt
	copy(iv[:], salt[:])
	binary.BigEndian.PutUint32(iv[2:], binary.BigEndian.Uint32(salt[2:])^ssrc)
	binary.BigEndian.PutUint32(iv[8:], binary.BigEndian.Uint32(salt[8:])^index)
	return iv[:]
}

// Sealer seals what one side sends.
type Sealer struct {
	transform
	rtcpIndex uint32
}

// NewSealer makes a Sealer. It keeps nothing of k.
func NewSealer(k Key) (*Sealer, error) {
	s := new(Sealer)
	if err := s.init(k); err != nil {
		return nil, err
	}
	return s, nil
}

// SealRTP appends header and the sealed payload to dst and returns the extended slice. header is the whole RTP header as
// sent; its SSRC and sequence number must be ssrc and the low 16 bits of index. The caller answers for never giving one
// index of an SSRC two different plaintexts: GCM would give both away. Payload may not overlap dst's free space.
func (s *Sealer) SealRTP(dst, header, payload []byte, ssrc uint32, index uint64) []byte {
	at := len(dst)
	dst = append(dst, header...)
	return s.rtp.Seal(dst, s.rtpIV(ssrc, index), payload, dst[at:])
}

// SealRTCP appends the sealed form of the compound packet to dst, or returns dst unchanged if the packet is shorter than
// an RTCP header or 2^31 packets were sealed.
func (s *Sealer) SealRTCP(dst, packet []byte) []byte {
	if len(packet) < rtcpHeaderSize || s.rtcpIndex == encrypted-1 {
		return dst
	}
	s.rtcpIndex++
	copy(s.aad[:], packet[:rtcpHeaderSize])
	binary.BigEndian.PutUint32(s.aad[rtcpHeaderSize:], s.rtcpIndex|encrypted)
	dst = append(dst, packet[:rtcpHeaderSize]...)
	iv := s.rtcpIV(binary.BigEndian.Uint32(packet[4:]), s.rtcpIndex)
	dst = s.rtcp.Seal(dst, iv, packet[rtcpHeaderSize:], s.aad[:])
	return append(dst, s.aad[rtcpHeaderSize:]...)
}

// Opener opens what the other side sends.
type Opener struct {
	transform
	rtcpWindow Window
}

// NewOpener makes an Opener. It keeps nothing of k.
func NewOpener(k Key) (*Opener, error) {
	o := new(Opener)
	if err := o.init(k); err != nil {
		return nil, err
	}
	return o, nil
}

// OpenRTP opens packet in place, whose header is its first headerSize bytes, and returns the plaintext payload within
// packet, and the packet's index. w is the state of the packet's SSRC; it is moved only by packets that open.
func (o *Opener) OpenRTP(packet []byte, headerSize int, ssrc uint32, seq uint16, w *Window) ([]byte, uint64, error) {
	if len(packet) < headerSize+TagSize {
		return nil, 0, ErrOpen
	}
	index := w.Guess(seq)
	if w.Seen(index) {
		return nil, 0, ErrReplay
	}
	body := packet[headerSize:]
	payload, err := o.rtp.Open(body[:0], o.rtpIV(ssrc, index), body, packet[:headerSize])
	if err != nil {
		return nil, 0, ErrOpen
	}
	w.Accept(index)
	return payload, index, nil
}

// OpenRTCP opens packet in place and returns the plaintext compound packet within it. Packets that are not encrypted are
// refused, though RFC 3711 knows them.
func (o *Opener) OpenRTCP(packet []byte) ([]byte, error) {
	if len(packet) < rtcpHeaderSize+RTCPOverhead {
		return nil, ErrOpen
	}
	word := packet[len(packet)-4:]
	index := binary.BigEndian.Uint32(word)
	if index&encrypted == 0 {
		return nil, ErrOpen
	}
	copy(o.aad[:], packet[:rtcpHeaderSize])
	copy(o.aad[rtcpHeaderSize:], word)
	index &^= encrypted
	if o.rtcpWindow.Seen(uint64(index)) {
		return nil, ErrReplay
	}
	body := packet[rtcpHeaderSize : len(packet)-4]
	iv := o.rtcpIV(binary.BigEndian.Uint32(packet[4:]), index)
	plain, err := o.rtcp.Open(body[:0], iv, body, o.aad[:])
	if err != nil {
		return nil, ErrOpen
	}
	o.rtcpWindow.Accept(uint64(index))
	return packet[:rtcpHeaderSize+len(plain)], nil
}
