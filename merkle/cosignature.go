package merkle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// The algorithms of C2SP signed-note that we know.
const (
	algorithmEd25519     = 0x01
	algorithmCosignature = 0x04 // cosignature/v1, Ed25519
)

// MaxName bounds the names of logs and witnesses, in bytes: an organisation's id, all of it escaped, and a word.
const MaxName = 3*253 + 32

// WitnessKey returns the verifier for the cosignatures of a witness.
func WitnessKey(name string, key ed25519.PublicKey) Key {
	return Key{name: name, key: key, cosign: true}
}

// Name returns the name of the log or the witness.
func (k Key) Name() string { return k.name }

// Public returns the key itself. It must not be changed.
func (k Key) Public() ed25519.PublicKey { return k.key }

// Witness says whether it is a witness's.
func (k Key) Witness() bool { return k.cosign }

func (k Key) encoded() []byte {
	if k.cosign {
		return append([]byte{algorithmCosignature}, k.key...)
	}
	return append([]byte{algorithmEd25519}, k.key...)
}

// KeyHash implements note.Verifier: the key ID of C2SP signed-note.
func (k Key) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(k.name+"\n"), k.encoded()...))
	return binary.BigEndian.Uint32(sum[:4])
}

// Verify implements note.Verifier.
func (k Key) Verify(msg, sig []byte) bool {
	if len(k.key) != ed25519.PublicKeySize {
		return false
	}
	if k.cosign {
		_, ok := k.cosigned(msg, sig)
		return ok
	}
	return len(sig) == ed25519.SignatureSize && ed25519.Verify(k.key, msg, sig)
}

// cosigned verifies a cosignature: eight octets of time and the signature proper. The time is in seconds since 1970.
func (k Key) cosigned(msg, sig []byte) (seconds uint64, ok bool) {
	if len(sig) != 8+ed25519.SignatureSize {
		return 0, false
	}
	seconds = binary.BigEndian.Uint64(sig)
	return seconds, seconds < 1<<40 && ed25519.Verify(k.key, cosignedContent(seconds, msg), sig[8:])
}

func cosignedContent(seconds uint64, text []byte) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(seconds, 10)+"\n"), text...)
}

// String returns the verifier key of C2SP signed-note: name+hash+key.
func (k Key) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.KeyHash(), base64.StdEncoding.EncodeToString(k.encoded()))
}

// ParseKey reads what String returns.
func ParseKey(s string) (Key, error) {
	malformed := errors.New("merkle: a verifier key looks like name+01234567+base64")
	name, rest, _ := strings.Cut(s, "+")
	hash, text, ok := strings.Cut(rest, "+")
	raw, err := ParseBase64(text)
	if !ok || err != nil || !validName(name) || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algorithmEd25519 && raw[0] != algorithmCosignature {
		return Key{}, malformed
	}
	k := Key{name: name, key: ed25519.PublicKey(raw[1:]), cosign: raw[0] == algorithmCosignature}
	if hash != fmt.Sprintf("%08x", k.KeyHash()) {
		return Key{}, malformed
	}
	return k, nil
}

// validName says whether signed notes can hold a name.
func validName(name string) bool {
	return name != "" && len(name) <= MaxName && utf8.ValidString(name) && !strings.Contains(name, "+") &&
		strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) < 0
}

// Cosign returns a witness's signature line (C2SP tlog-cosignature) for a checkpoint that it has verified.
func Cosign(c *Checkpoint, name string, key ed25519.PrivateKey, now time.Time) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize || !validName(name) {
		return nil, errSigner
	}
	k, seconds := WitnessKey(name, key.Public().(ed25519.PublicKey)), uint64(now.Unix())
	raw := binary.BigEndian.AppendUint32(nil, k.KeyHash())
	raw = binary.BigEndian.AppendUint64(raw, seconds)
	raw = append(raw, ed25519.Sign(key, cosignedContent(seconds, []byte(c.Text())))...)
	return []byte("— " + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"), nil
}

// Cosignature finds a witness's good signature under a checkpoint and returns when it was made, by the witness's clock.
func Cosignature(signed []byte, witness Key) (time.Time, bool) {
	if !witness.cosign || len(signed) > MaxCheckpoint {
		return time.Time{}, false
	}
	n, err := note.Open(signed, verifiers{witness})
	if err != nil || len(n.Sigs) != 1 {
		return time.Time{}, false
	}
	raw, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || len(raw) < 4 {
		return time.Time{}, false
	}
	seconds, ok := witness.cosigned([]byte(n.Text), raw[4:])
	return time.Unix(int64(seconds), 0).UTC(), ok
}

// AddCosignature returns the checkpoint with a line that a witness answered, once the line holds. An older signature of the
// same witness is replaced.
func AddCosignature(signed, line []byte, witness Key) ([]byte, error) {
	text, sigs, ok := strings.Cut(string(signed), "\n\n")
	prefix := "— " + witness.name + " "
	if !ok || !witness.cosign || !strings.HasPrefix(string(line), prefix) || strings.Count(string(line), "\n") != 1 || !strings.HasSuffix(string(line), "\n") {
		return nil, errors.New("merkle: malformed cosignature")
	}
	var kept strings.Builder
	for l := range strings.Lines(sigs) {
		if sameKey(l, prefix, witness.KeyHash()) {
			continue
		}
		kept.WriteString(l)
	}
	out := []byte(text + "\n\n" + kept.String() + string(line))
	if _, ok := Cosignature(out, witness); !ok {
		return nil, errors.New("merkle: the cosignature is not the witness's over this checkpoint")
	}
	return out, nil
}

func sameKey(line, prefix string, hash uint32) bool {
	rest, ok := strings.CutPrefix(line, prefix)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(rest, "\n"))
	return ok && err == nil && len(raw) >= 4 && binary.BigEndian.Uint32(raw) == hash
}
