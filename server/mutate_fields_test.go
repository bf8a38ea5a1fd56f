package server_test

import (
	"bytes"
	"slices"
	"testing"

	"conclave/mls"
	"conclave/pass"
)

// span is a field of an encoding, up to end, and the codes with which whoever hands it in with another bit is refused: one,
// unless the changed octet can be of more than one kind, which a remark says.
type span struct {
	name string
	end  int
	want []string
}

type spans []span

func (s *spans) add(name string, size int, want ...string) {
	end := size
	if len(*s) > 0 {
		end += (*s)[len(*s)-1].end
	}
	*s = append(*s, span{name, end, want})
}

// at is the field in which an octet lies.
func (s spans) at(octet int) span {
	i, _ := slices.BinarySearchFunc(s, octet+1, func(one span, end int) int { return one.end - end })
	return s[i]
}

// size is the size of all.
func (s spans) size() int { return s[len(s)-1].end }

// statementSpans are the fields of a statement in a leaf.
func statementSpans(t testing.TB, encoded []byte) spans {
	t.Helper()
	st, err := pass.ParseStatement(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var s spans
	text := func(name, value, otherwise string) {
		s.add(name+", length", 1, "statement_malformed")
		s.add(name, len(value), "statement_malformed", otherwise) // a character that no name has, or another letter
	}
	s.add("version", 1, "statement_malformed")
	text("organisation", string(st.Organisation), "organisation_unknown")
	text("person", string(st.Person), "statement_signature")
	text("name", st.Name, "statement_signature")
	text("unit", st.Unit, "statement_signature")
	s.add("key, length", 1, "statement_malformed")
	s.add("key, form", 1, "statement_malformed")
	s.add("key", len(st.LeafKey)-1, "statement_key")
	s.add("assurance", 1, "statement_malformed", "statement_signature") // one that there is not, or another one
	s.add("kind", 1, "statement_malformed", "statement_signature")      // a guest or a phone has no assurance; a gateway may
	s.add("gateway", len(st.Gateway), "statement_malformed")
	// A life of no time, or of more than a week, is malformed; what remains lies in the future, or only is not signed.
	s.add("not before", 8, "statement_malformed", "statement_early", "statement_signature")
	s.add("not after", 8, "statement_malformed", "statement_expired", "statement_signature")
	s.add("signer", len(st.Signer), "statement_signature")
	s.add("signature", len(st.Signature), "statement_signature")
	whole(t, s, encoded)
	return s
}

// passSpans are those of a pass, at a level above the lowest.
func passSpans(t testing.TB, encoded []byte) spans {
	t.Helper()
	p, err := pass.ParsePass(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var s spans
	s.add("version", 1, "pass_malformed")
	s.add("organisation, length", 1, "pass_malformed")
	s.add("organisation", len(p.Organisation), "pass_malformed", "organisation_unknown") // as in statements
	s.add("meeting", len(p.Meeting), "pass_meeting")
	s.add("device", len(p.Device), "pass_device")
	s.add("level", 1, "pass_level", "pass_signature")     // a lower one is not enough; a higher one would be, were it signed
	s.add("grade", 1, "pass_malformed", "pass_signature") // one that there is not, or another one
	s.add("policy hash", len(p.PolicyHash), "pass_policy")
	s.add("not before", 8, "pass_malformed", "pass_early", "pass_signature") // as in statements
	s.add("not after", 8, "pass_malformed", "pass_expired", "pass_signature")
	s.add("signer", len(p.Signer), "pass_signature")
	s.add("signature", len(p.Signature), "pass_signature")
	whole(t, s, encoded)
	return s
}

// proofSpans are those of a log proof, which is text: another bit makes another character, or one that has no place there.
func proofSpans(t testing.TB, encoded []byte) spans {
	t.Helper()
	head, rest, ok := bytes.Cut(encoded, []byte("\n\n"))
	text, signatures, signed := bytes.Cut(rest, []byte("\n\n"))
	lines := bytes.SplitAfter(text, []byte("\n"))
	if !ok || !signed || len(lines) != 3 {
		t.Fatalf("another log proof than this test knows:\n%s", encoded)
	}
	var s spans
	first := bytes.IndexByte(head, '\n') + 1
	s.add("header", first, "log_proof_malformed")
	s.add("index and path", len(head)-first, "log_proof_malformed", "log_proof_other")
	s.add("divide", 2, "log_proof_malformed")
	s.add("origin", len(lines[0])-1, "log_proof_malformed", "log_proof_other")
	s.add("divide", 1, "log_proof_malformed")
	s.add("size and root", len(lines[1])+len(lines[2]), "log_proof_malformed", "log_proof_other")
	s.add("divide", 2, "log_proof_malformed")
	s.add("signature", len(signatures), "log_proof_signature")
	whole(t, s, encoded)
	return s
}

// commitSpans are those of an external commit: papers in its leaf are refused as papers, all else as a commit that is not as
// it was signed, which a person need not know more of than that joining anew helps.
func commitSpans(t testing.TB, encoded []byte, p papers) spans {
	t.Helper()
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		t.Fatal(err)
	}
	const refused = "commit_refused"
	// Within the leaf a length or a kind that is another has what follows read as something else.
	inLeaf := []string{refused, "statement_malformed", "statement_key", "pass_missing", "pass_malformed", "log_proof_missing", "log_proof_malformed"}
	var s spans
	at := 0
	// upTo adds what lies before a part, and then the part.
	upTo := func(name string, part []byte, between []string, fields spans) {
		t.Helper()
		from := bytes.Index(encoded[at:], part)
		if from < 0 || len(part) == 0 {
			t.Fatalf("the commit has no %s", name)
		}
		if from > 0 {
			s.add("before "+name, from, between...)
		}
		if fields == nil {
			s.add(name, len(part), refused)
		}
		base := 0
		for _, f := range fields {
			s.add(name+", "+f.name, f.end-base, f.want...)
			base = f.end
		}
		at += from + len(part)
	}
	c := m.Public.Content.Commit
	frame := []string{refused}
	upTo("group", m.Public.Content.GroupID, frame, nil)
	upTo("key to join with", c.Proposals[0].Proposal.(*mls.ExternalInit).KEMOutput, frame, nil)
	upTo("leaf's key", c.Path.LeafNode.EncryptionKey, frame, nil)
	upTo("signature key", c.Path.LeafNode.SignatureKey, frame, nil)
	upTo("statement", p.statement, inLeaf, statementSpans(t, p.statement))
	upTo("pass", p.pass, inLeaf, passSpans(t, p.pass))
	upTo("proof", p.proof, inLeaf, proofSpans(t, p.proof))
	upTo("leaf's signature", c.Path.LeafNode.Signature, inLeaf, nil)
	for _, n := range c.Path.Nodes {
		upTo("path's key", n.EncryptionKey, frame, nil)
		for _, secret := range n.EncryptedPathSecret {
			upTo("path's secret, key", secret.KEMOutput, frame, nil)
			upTo("path's secret", secret.Ciphertext, frame, nil)
		}
	}
	upTo("signature", m.Public.Auth.Signature, frame, nil)
	upTo("confirmation", m.Public.Auth.ConfirmationTag, frame, nil)
	whole(t, s, encoded)
	return s
}

func whole(t testing.TB, s spans, encoded []byte) {
	t.Helper()
	if s.size() != len(encoded) {
		t.Fatalf("%d octets of %d are of a field that this test knows", s.size(), len(encoded))
	}
}

// atHello is how a hello is refused with a statement that a leaf would be refused with so: what is not signed by the
// organisation is said in one word to everybody, and a key that did not sign the hello comes first.
func atHello(want []string) (out []string) {
	for _, code := range want {
		switch code {
		case "statement_key":
			code = "hello_signature"
		case "statement_malformed", "statement_expired":
		default:
			code = "statement_invalid"
		}
		out = append(out, code)
	}
	return out
}
