package merkle

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Limits on checkpoints that others send.
const (
	// MaxCheckpoint bounds a checkpoint with all its signatures, in bytes: room for some sixty witnesses.
	MaxCheckpoint = 16 << 10
	maxExtensions = 16
)

// Checkpoint is a state of a log (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string // the log's name, which is also the name of its key; no spaces, no plus sign
	Size   Size
	Root   Hash
	// Extensions are further signed lines, none of them empty. We write none.
	Extensions []string
}

// Key verifies the signatures of one log or one witness.
type Key struct {
	name   string
	key    ed25519.PublicKey
	cosign bool
}

// LogKey returns the verifier for the checkpoints of origin that are signed by key.
func LogKey(origin string, key ed25519.PublicKey) Key { return Key{name: origin, key: key} }

var errSigner = errors.New("merkle: a checkpoint's key is Ed25519 under a name without spaces and plus signs")

// Origin returns the name of a log of an organisation: "example.org/audit". What names cannot hold is escaped as in URLs.
func Origin(organisation, log string) string {
	var b strings.Builder
	for i := range len(organisation) {
		switch c := organisation[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String() + "/" + log
}

// Text returns what is signed.
func (c *Checkpoint) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
	for _, e := range c.Extensions {
		b.WriteString(e + "\n")
	}
	return b.String()
}

// Sign signs c with the log's key and returns the note that everybody may see.
func (c *Checkpoint) Sign(key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errSigner
	}
	if _, err := ParseCheckpoint(c.Text()); err != nil {
		return nil, err
	}
	b, err := note.Sign(&note.Note{Text: c.Text()}, logSigner{LogKey(c.Origin, key.Public().(ed25519.PublicKey)), key})
	if err != nil {
		return nil, fmt.Errorf("merkle: sign checkpoint: %w", err)
	}
	return b, nil
}

// ParseCheckpoint reads the signed text of a checkpoint, without its signatures. It accepts what Text writes and nothing
// else.
func ParseCheckpoint(text string) (*Checkpoint, error) {
	malformed := errors.New("merkle: malformed checkpoint")
	body, ended := strings.CutSuffix(text, "\n")
	lines := strings.Split(body, "\n")
	if !ended || len(text) > MaxCheckpoint || len(lines) < 3 || len(lines) > 3+maxExtensions || !validName(lines[0]) {
		return nil, malformed
	}
	c := &Checkpoint{Origin: lines[0]}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || Size(size) > MaxSize || strconv.FormatUint(size, 10) != lines[1] {
		return nil, malformed
	}
	c.Size = Size(size)
	root, err := ParseBase64(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return nil, malformed
	}
	copy(c.Root[:], root)
	for _, e := range lines[3:] {
		if e == "" {
			return nil, malformed
		}
		c.Extensions = append(c.Extensions, e)
	}
	if c.Size == 0 && c.Root != EmptyRoot {
		return nil, malformed
	}
	return c, nil
}

// Open reads a signed checkpoint and verifies the signature of one of the log's keys, which all have the origin as their
// name. Other signatures are left alone (see Cosignature).
func Open(signed []byte, keys ...Key) (*Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return nil, errors.New("merkle: checkpoint too large")
	}
	n, err := note.Open(signed, verifiers(keys))
	if err != nil {
		return nil, fmt.Errorf("merkle: open checkpoint: %w", err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return nil, err
	}
	for _, s := range n.Sigs {
		if s.Name == c.Origin {
			return c, nil
		}
	}
	return nil, errors.New("merkle: the checkpoint is of another log")
}

// Unverified reads a signed checkpoint without looking at its signatures: to say what a bad one claims.
func Unverified(signed []byte) (*Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return nil, errors.New("merkle: checkpoint too large")
	}
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok {
		return nil, errors.New("merkle: malformed checkpoint")
	}
	return ParseCheckpoint(text + "\n")
}

// verifiers implements note.Verifiers. Where two keys have one name and hash the first counts.
type verifiers []Key

func (v verifiers) Verifier(name string, hash uint32) (note.Verifier, error) {
	for _, k := range v {
		if k.name == name && k.KeyHash() == hash && len(k.key) == ed25519.PublicKeySize {
			return k, nil
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}

// logSigner implements note.Signer.
type logSigner struct {
	Key
	private ed25519.PrivateKey
}

func (s logSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.private, msg), nil }

// ParseBase64 reads the one spelling that octets have in the formats of this package. The standard library's strict decoder
// passes over line breaks.
func ParseBase64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err == nil && strings.ContainsAny(text, "\r\n") {
		err = errors.New("merkle: base64 with a line break in it")
	}
	return raw, err
}
