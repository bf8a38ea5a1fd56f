package merkle

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxProof bounds an encoded proof with its checkpoint, in bytes.
const MaxProof = MaxCheckpoint + 8<<10

const proofHeader = "c2sp.org/tlog-proof@v1"

// maxPath is the longest path in a tree of MaxSize.
const maxPath = 64

// Proof shows that a leaf is in a log, to whoever has the leaf and the log's key (C2SP tlog-proof).
type Proof struct {
	Index      Index
	Path       []Hash
	Checkpoint []byte // signed
}

// Encode returns the proof's text form.
func (p *Proof) Encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHeader, p.Index)
	for _, h := range p.Path {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(p.Checkpoint)
	return []byte(b.String())
}

// ParseProof reads a proof. Lines of extra data, which the format allows, are refused: we would not know what they mean.
func ParseProof(b []byte) (*Proof, error) {
	malformed := errors.New("merkle: malformed proof")
	if len(b) > MaxProof {
		return nil, malformed
	}
	head, checkpoint, ok := strings.Cut(string(b), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 2 || len(lines) > 2+maxPath || lines[0] != proofHeader {
		return nil, malformed
	}
	number, ok := strings.CutPrefix(lines[1], "index ")
	index, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || Size(index) >= MaxSize || strconv.FormatUint(index, 10) != number {
		return nil, malformed
	}
	p := &Proof{Index: Index(index), Checkpoint: []byte(checkpoint)}
	for _, l := range lines[2:] {
		raw, err := ParseBase64(l)
		if err != nil || len(raw) != len(Hash{}) {
			return nil, malformed
		}
		p.Path = append(p.Path, Hash(raw))
	}
	return p, nil
}

// Verify checks that the log whose keys are given signed the checkpoint and that leaf stands in it, and returns the
// checkpoint.
func (p *Proof) Verify(leaf []byte, keys ...Key) (*Checkpoint, error) {
	c, err := Open(p.Checkpoint, keys...)
	if err != nil {
		return nil, err
	}
	if err := CheckInclusion(p.Path, p.Index, LeafHash(leaf), c.Size, c.Root); err != nil {
		return nil, err
	}
	return c, nil
}
