package mls

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecoderIsStrict(t *testing.T) {
	var data opaqueData
	refuse := func(reason string, x Unmarshaler, b ...byte) {
		t.Helper()
		if err := Unmarshal(b, x); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%x: refused with %v, want: %s", b, err, reason)
		}
	}
	refuse("truncated", &data)
	refuse("truncated", &data, 1)
	refuse("truncated", &data, 0x40)
	refuse("truncated", &data, 0x80, 0, 0x40)
	refuse("trailing", &data, 0, 0)
	refuse("minimal", &data, 0x40, 0)    // one octet would do
	refuse("minimal", &data, 0x40, 0x3f) // so it would
	refuse("minimal", &data, 0x80, 0, 0x3f, 0xff)
	refuse("minimal", &data, 0xc0, 0, 0, 0)
	refuse("too long", &data, 0x80, 1, 0, 1)
	refuse("ends inside", new(RequiredCapabilities), 1, 0, 0, 0)
	refuse("truncated", new(Extensions), 1, 0)
	refuse("truncated", new(Extensions), 3, 0, 1, 1)
	refuse("presence", new(Commit), 0, 2)
	refuse("unknown enumeration", new(Sender), 5)
	refuse("unknown enumeration", new(ProposalOrRef), 3)
	refuse("unknown proposal type", new(ProposalOrRef), 1, 0x3a, 0x3a)
	refuse("unknown credential type", new(Credential), 0x4a, 0x4a, 0)
	refuse("unknown protocol version", new(Message), 0, 2, 0, 1)
	refuse("unknown enumeration", new(Message), 0, 1, 0, 6)
	refuse("unknown enumeration", new(PreSharedKeyID), 3)
	refuse("unknown enumeration", new(PreSharedKeyID), 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	refuse("unknown enumeration", new(AuthenticatedContent), 0, 3)
	refuse("too many", new(Extensions), append([]byte{0x41, 0x83}, make([]byte, 3*(maxExtensions+1))...)...)
	refuse("too many", new(Credential), append([]byte{0, 2, maxChain + 1}, make([]byte, maxChain+1)...)...)
	if err := Unmarshal(make([]byte, MaxMessageSize+1), &data); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("oversized message: %v", err)
	}
}

func TestVectorsOfEverySizeRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 16383, 16384, 16385, 70000} {
		body := bytes.Repeat([]byte{7}, n)
		var plain, nested Writer
		plain.Uint8(9)
		plain.Opaque(body)
		plain.Uint8(9)
		nested.Uint8(9)
		mark := nested.Begin()
		nested.Raw(body)
		nested.End(mark)
		nested.Uint8(9)
		equal(t, "nested vector", nested.Bytes(), plain.Bytes())
		r := NewReader(plain.Bytes())
		r.Uint8()
		got := r.Opaque(1 << 20)
		if r.Uint8(); !bytes.Equal(got, body) || r.Finish() != nil {
			t.Errorf("%d octets do not come back: %v", n, r.Err())
		}
	}
}

func TestReaderKeepsItsFirstError(t *testing.T) {
	r := NewReader([]byte{0x05, 1, 2, 3, 4})
	outer := r.Begin()
	if r.Uint64() != 0 || r.More() || r.Raw(1) != nil || r.Rest() != nil || r.Opaque(9) != nil {
		t.Error("reads go on after an error")
	}
	r.End(outer)
	r.Fail(errTrailing)
	if r.Finish() != errTruncated {
		t.Errorf("error is %v", r.Err())
	}
}

func TestDecodedValuesDoNotReferToTheInput(t *testing.T) {
	b := Marshal(BasicCredential([]byte("name")))
	var c Credential
	if err := Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(c.Identity) != "name" {
		t.Error("the value changed with its input")
	}
}

func TestExtensionLists(t *testing.T) {
	list := Extensions{{1, []byte("a")}, {2, []byte("b")}}
	if got := list.With(Extension{2, []byte("c")}); len(got) != 2 || string(got[1].Data) != "c" || string(list[1].Data) != "b" {
		t.Errorf("replaced: %v of %v", got, list)
	}
	if got := list.With(Extension{3, nil}); len(got) != 3 || len(list) != 2 {
		t.Errorf("added: %v", got)
	}
	if got := list.Without(1); len(got) != 1 || got[0].Type != 2 || len(list) != 2 || list[0].Type != 1 {
		t.Errorf("removed: %v of %v", got, list)
	}
	if list.Equal(list[:1]) || !list.Equal(slices.Clone(list)) {
		t.Error("Equal")
	}

	r := newRoom(t, testSuite, "a", "b")
	list = Extensions{ApplicationIDExtension([]byte("id")), ExternalPubExtension([]byte("key")), RatchetTreeExtension(r.Tree())}
	id, err := list.ApplicationID()
	r.must(err)
	equal(t, "application id", id, []byte("id"))
	key, err := list.ExternalPub()
	r.must(err)
	equal(t, "external pub", key, []byte("key"))
	tree, err := list.RatchetTree(testSuite)
	r.must(err)
	equal(t, "tree", Marshal(tree), Marshal(r.Tree()))
	none := Extensions{}
	for _, absent := range []bool{second(none.ApplicationID()) == nil, second(none.ExternalPub()) == nil} {
		if !absent {
			t.Error("an absent extension is an error")
		}
	}
	if c, err := none.RequiredCapabilities(); c != nil || err != nil {
		t.Error("absent required capabilities")
	}
	if tree, err := none.RatchetTree(testSuite); tree != nil || err != nil {
		t.Error("absent ratchet tree")
	}
}

func TestGREASEValuesAreKnown(t *testing.T) {
	n := 0
	for v := range 1 << 16 {
		if IsGREASE(ExtensionType(v)) {
			n++
			if v&0xff != v>>8 || v&0xf != 0xa {
				t.Errorf("%#04x", v)
			}
		}
	}
	if n != 15 {
		t.Errorf("%d values, want 15", n)
	}
}

func TestCredentialsCompare(t *testing.T) {
	list := []Credential{BasicCredential(nil), BasicCredential([]byte("a")), X509Credential(nil),
		X509Credential([][]byte{{1}}), X509Credential([][]byte{{1}, {2}}), X509Credential([][]byte{{2}})}
	for i := range list {
		for j := range list {
			if list[i].Equal(&list[j]) != (i == j) {
				t.Errorf("%d and %d", i, j)
			}
		}
	}
}

func TestPrivateContentHidesItsLengthWithZeros(t *testing.T) {
	a := AuthenticatedContent{Content: FramedContent{ContentType: ContentApplication, ApplicationData: []byte("hello")}}
	a.Auth.Signature = []byte("signature")
	b := a.PrivateContent(11)
	read := func(b []byte) (AuthenticatedContent, error) {
		c := AuthenticatedContent{Content: FramedContent{ContentType: ContentApplication}}
		return c, c.ReadPrivateContent(b)
	}
	c, err := read(b)
	if err != nil || string(c.Content.ApplicationData) != "hello" || string(c.Auth.Signature) != "signature" {
		t.Errorf("read %+v, %v", c, err)
	}
	b[len(b)-2] = 1
	if _, err := read(b); err == nil {
		t.Error("padding other than zero is accepted")
	}
	if _, err := read(b[:7]); err == nil {
		t.Error("truncated content is accepted")
	}
}

func TestLifetimeIncludesItsEnds(t *testing.T) {
	l := Lifetime{100, 200}
	for at, want := range map[int64]bool{-1: false, 99: false, 100: true, 200: true, 201: false} {
		if l.Contains(time.Unix(at, 0)) != want {
			t.Errorf("at %d: %v", at, !want)
		}
	}
}

func TestSmallTreeQuestions(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b", "c")
	tree := r.Tree()
	if at, ok := tree.FindSignatureKey(r.members[2].signer.Public()); !ok || at != 2 {
		t.Errorf("c is at %d, %v", at, ok)
	}
	if _, ok := tree.FindSignatureKey(r.signer().Public()); ok {
		t.Error("a stranger is found")
	}
	if tree.Leaf(3) != nil || tree.Leaf(1<<31+1) != nil || tree.Parent(2) != nil || tree.Parent(99) != nil || tree.EncryptionKey(6) != nil {
		t.Error("nodes that are not there")
	}
	equal(t, "leaf key", tree.EncryptionKey(2), tree.Leaf(1).EncryptionKey)
	equal(t, "parent key", tree.EncryptionKey(3), tree.Parent(3).EncryptionKey)
	k := r.client("d").keyPackage(nil)
	equal(t, "reference", k.Ref(), testSuite.RefHash("MLS 1.0 KeyPackage Reference", Marshal(k)))
}
