package media

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/pion/srtp/v3"
)

// Profile is an SRTP protection profile by the name that stands in a=crypto.
type Profile string

// The profiles that are spoken, best first. Tags of 32 bits and null ciphers are not among them.
const (
	AES256GCM Profile = "AEAD_AES_256_GCM"        // RFC 7714
	AES128GCM Profile = "AEAD_AES_128_GCM"        // RFC 7714
	AES256CM  Profile = "AES_256_CM_HMAC_SHA1_80" // RFC 6188
	AES128CM  Profile = "AES_CM_128_HMAC_SHA1_80" // RFC 4568
)

// Profiles lists all profiles, best first.
var Profiles = [...]Profile{AES256GCM, AES128GCM, AES256CM, AES128CM}

// pion returns the profile's number, the sizes of master key and salt in bytes, and its rank: more is stronger.
func (p Profile) pion() (profile srtp.ProtectionProfile, key, salt, rank int, ok bool) {
	switch p {
	case AES256GCM:
		return srtp.ProtectionProfileAeadAes256Gcm, 32, 12, 4, true
	case AES128GCM:
		return srtp.ProtectionProfileAeadAes128Gcm, 16, 12, 3, true
	case AES256CM:
		return srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14, 2, true
	case AES128CM:
		return srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14, 1, true
	}
	return 0, 0, 0, 0, false
}

// Key is a master key and salt with its profile. It does not print itself; only Crypto gives it out, for the SDP.
type Key struct {
	_       [0]func()
	Profile Profile
	secret  []byte // key ‖ salt
}

// Format keeps the key out of anything that is printed.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "srtp key") }

// LogValue keeps the key out of logs.
func (Key) LogValue() slog.Value { return slog.StringValue("srtp key") }

func (k Key) equal(o Key) bool {
	return k.Profile == o.Profile && subtle.ConstantTimeCompare(k.secret, o.secret) == 1
}

// context starts one direction under k.
func (k Key) context() (*srtp.Context, error) {
	profile, key, salt, _, ok := k.Profile.pion()
	if !ok || len(k.secret) != key+salt {
		return nil, fmt.Errorf("media: no key for profile %q", k.Profile)
	}
	// Without these options pion accepts every packet as often as it comes.
	c, err := srtp.CreateContext(k.secret[:key], k.secret[key:], profile, srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return nil, fmt.Errorf("media: start SRTP: %v", err)
	}
	return c, nil
}

// replayWindow, in packets, is more than the jitter buffer could use (120 ms) and the least that RFC 3711 takes is 64.
const replayWindow = 128

// Crypto returns the value of an a=crypto line, without "crypto:", that gives k to the other end.
func (k Key) Crypto(tag int) string {
	return fmt.Sprintf("%d %s inline:%s", tag, string(k.Profile), base64.StdEncoding.EncodeToString(k.secret))
}

// newKey makes a key for p.
func newKey(p Profile, rand io.Reader) (Key, error) {
	_, key, salt, _, ok := p.pion()
	if !ok {
		return Key{}, fmt.Errorf("media: no SRTP profile %q", p)
	}
	k := Key{Profile: p, secret: make([]byte, key+salt)}
	if _, err := io.ReadFull(rand, k.secret); err != nil {
		return Key{}, fmt.Errorf("media: make key: %v", err)
	}
	return k, nil
}

// ErrCrypto is wrapped by the errors of ParseCrypto. A line that cannot be taken is to be passed over: the next may do.
var ErrCrypto = errors.New("media: unusable a=crypto line")

// ParseCrypto reads the value of an a=crypto line (RFC 4568, Section 9.1), without "crypto:". Refused are unknown
// profiles, several keys, master key identifiers, and session parameters, UNENCRYPTED_SRTP above all, save a window size
// hint. A lifetime is read over: none that is allowed is reached by a call.
func ParseCrypto(line string) (tag int, k Key, err error) {
	if len(line) > 512 {
		return 0, Key{}, fmt.Errorf("%w: too long", ErrCrypto)
	}
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return 0, Key{}, fmt.Errorf("%w: too few fields", ErrCrypto)
	}
	tag, err = strconv.Atoi(fields[0])
	if err != nil || tag < 0 || tag > 999999999 {
		return 0, Key{}, fmt.Errorf("%w: tag", ErrCrypto)
	}
	for _, parameter := range fields[3:] {
		if !strings.HasPrefix(parameter, "WSH=") {
			return 0, Key{}, fmt.Errorf("%w: session parameter", ErrCrypto)
		}
	}
	k.Profile = Profile(strings.ToUpper(fields[1]))
	_, key, salt, _, ok := k.Profile.pion()
	if !ok {
		return 0, Key{}, fmt.Errorf("%w: profile", ErrCrypto)
	}
	material, ok := strings.CutPrefix(fields[2], "inline:")
	if !ok || strings.Contains(material, ";") {
		return 0, Key{}, fmt.Errorf("%w: key method", ErrCrypto)
	}
	material, rest, _ := strings.Cut(material, "|")
	if strings.Contains(rest, ":") || strings.Contains(rest, "|") {
		return 0, Key{}, fmt.Errorf("%w: master key identifier", ErrCrypto)
	}
	// Some phones leave the padding away.
	k.secret, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(material, "="))
	if err != nil || len(k.secret) != key+salt {
		return 0, Key{}, fmt.Errorf("%w: key", ErrCrypto)
	}
	return tag, k, nil
}

// Fingerprint is the hash of a certificate, as in a=fingerprint (RFC 8122).
type Fingerprint struct {
	Hash string // "sha-256", "sha-384" or "sha-512"
	Sum  []byte
}

// ErrFingerprint is returned for an a=fingerprint line that cannot be taken; another may stand beside it.
var ErrFingerprint = errors.New("media: unusable a=fingerprint line")

// ParseFingerprint reads the value of an a=fingerprint line, without "fingerprint:". Hashes weaker than SHA-256 are refused.
func ParseFingerprint(line string) (Fingerprint, error) {
	name, sum, ok := strings.Cut(strings.TrimSpace(line), " ")
	name = strings.ToLower(name)
	size := map[string]int{"sha-256": 32, "sha-384": 48, "sha-512": 64}[name]
	sum = strings.TrimSpace(sum)
	if !ok || size == 0 || len(sum) != 3*size-1 {
		return Fingerprint{}, ErrFingerprint
	}
	f := Fingerprint{Hash: name, Sum: make([]byte, size)}
	for i := range f.Sum {
		if i > 0 && sum[3*i-1] != ':' {
			return Fingerprint{}, ErrFingerprint
		}
		if _, err := hex.Decode(f.Sum[i:i+1], []byte(sum[3*i:3*i+2])); err != nil {
			return Fingerprint{}, ErrFingerprint
		}
	}
	return f, nil
}

// String returns the value of an a=fingerprint line.
func (f Fingerprint) String() string {
	var b strings.Builder
	b.WriteString(f.Hash)
	for i, c := range f.Sum {
		fmt.Fprintf(&b, "%c%02X", " :"[min(i, 1)], c)
	}
	return b.String()
}

// matches says whether f is the fingerprint of the certificate.
func (f Fingerprint) matches(certificate []byte) bool {
	var sum []byte
	switch f.Hash {
	case "sha-256":
		s := sha256.Sum256(certificate)
		sum = s[:]
	case "sha-384":
		s := sha512.Sum384(certificate)
		sum = s[:]
	case "sha-512":
		s := sha512.Sum512(certificate)
		sum = s[:]
	default:
		return false
	}
	return subtle.ConstantTimeCompare(sum, f.Sum) == 1
}
