package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
)

const suite = mls.MLKEM768P256

// room is what both sides of the comparison work on.
type room struct {
	Now     int64 // seconds since 1970
	Root    []byte
	Grants  [][]byte
	Meeting [32]byte

	Info, Tree   []byte
	Join         []byte // a commit by which one more comes in
	Proposal     []byte // of the removal key: remove one in the middle
	Removal      []byte // the first member's commit to it
	First, Last  device // members, with snapshots; Last processes
	Joiner       device
	organisation organisation
}

// device is an enrolled device with a pass, and the snapshot of its group.
type device struct {
	Key, Statement, Pass, Snapshot []byte
}

// organisation has the private keys.
type organisation struct {
	root, enrolment, admission ed25519.PrivateKey
	removal                    mls.Signer
	id                         conclave.OrganisationID
}

func (r *room) time() time.Time { return time.Unix(r.Now, 0) }

func (r *room) meeting() pass.MeetingContext {
	m := pass.MeetingContext{Level: 1}
	copy(m.Meeting[:], r.Meeting[:])
	return m
}

const organisationName = "example"

// found makes the organisation's keys and grants.
func (r *room) found() error {
	o := &r.organisation
	o.id = organisationName
	for _, key := range []*ed25519.PrivateKey{&o.root, &o.enrolment, &o.admission} {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		*key = private
	}
	key, err := suite.GenerateSignatureKey(rand.Reader)
	if err != nil {
		return err
	}
	if o.removal, err = mls.NewSigner(suite, key); err != nil {
		return err
	}
	r.Root = o.root.Public().(ed25519.PublicKey)
	for role, public := range map[pass.Role][]byte{
		pass.RoleEnrolment: o.enrolment.Public().(ed25519.PublicKey), pass.RoleAdmission: o.admission.Public().(ed25519.PublicKey),
		pass.RoleRemoval: o.removal.Public(),
	} {
		g, err := pass.SignGrant(o.root, &pass.Grant{Organisation: o.id, Role: role, Key: public,
			NotBefore: r.time().Add(-time.Hour), NotAfter: r.time().Add(24 * time.Hour)})
		if err != nil {
			return err
		}
		r.Grants = append(r.Grants, g)
	}
	return nil
}

// enrol makes a device and lets it into the meeting.
func (r *room) enrol(i int) (device, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return device{}, err
	}
	private, err := key.Bytes()
	if err != nil {
		return device{}, err
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return device{}, err
	}
	d := device{Key: private}
	d.Statement, err = pass.SignStatement(r.organisation.enrolment, &pass.Statement{Organisation: r.organisation.id,
		Person: conclave.PersonID(fmt.Sprintf("person-%d", i)), Name: fmt.Sprintf("Member Number %d", i), Unit: "Department of Measurement",
		LeafKey: public, Assurance: conclave.AssuranceSoftware, NotBefore: r.time(), NotAfter: r.time().Add(24 * time.Hour)})
	if err != nil {
		return device{}, err
	}
	m := r.meeting()
	d.Pass, err = pass.SignPass(r.organisation.admission, &pass.Pass{Organisation: r.organisation.id, Meeting: m.Meeting,
		Device: conclave.DeviceOf(public), Level: m.Level, Grade: conclave.GradeSealed, PolicyHash: m.PolicyHash,
		NotBefore: r.time(), NotAfter: r.time().Add(pass.MaxPassLife)})
	return d, err
}

func (d *device) leaf() member.Leaf {
	return member.Leaf{
		Credential: mls.BasicCredential(d.Statement),
		Capabilities: &mls.Capabilities{
			Versions: []mls.ProtocolVersion{mls.MLS10}, CipherSuites: []mls.CipherSuite{suite},
			Extensions: gate.Extensions, Credentials: []mls.CredentialType{mls.CredentialBasic},
		},
		Extensions: mls.Extensions{{Type: pass.ExtensionPass, Data: d.Pass}},
	}
}

func (d *device) config(g *guard) (member.Config, error) {
	signer, err := mls.NewSigner(suite, d.Key)
	return member.Config{Suite: suite, Signer: signer, Verifier: g, Verify: g.verify, Rand: rand.Reader}, err
}

// guard applies the rules of package pass as the endpoint does: statements and passes of a whole tree are verified in one
// batch, and what is proven is not verified again.
type guard struct {
	trust  *pass.Trust
	want   pass.MeetingContext
	verify mls.BatchVerifier
	proven map[[32]byte]struct{}
}

func (r *room) guard(verify mls.BatchVerifier) (*guard, error) {
	t, err := pass.NewTrust(organisationName, r.Root, r.Grants, r.time())
	if err != nil {
		return nil, err
	}
	return &guard{t, r.meeting(), verify, make(map[[32]byte]struct{})}, nil
}

func (g *guard) checks(l *mls.LeafNode, now time.Time) ([]pass.Check, error) {
	p, ok := l.Extensions.Find(pass.ExtensionPass)
	if !ok {
		return nil, errors.New("no pass")
	}
	_, checks, err := g.trust.Checks(l.Credential.Identity, p, pass.Want{LeafKey: l.SignatureKey, Meeting: g.want}, now)
	return checks, err
}

func (g *guard) prove(checks []pass.Check) error {
	var batch []mls.SignatureCheck
	var names [][32]byte
	for _, c := range checks {
		name := sha256.Sum256(bytes.Join([][]byte{c.Key, c.Signature, c.Message}, nil))
		if _, ok := g.proven[name]; ok {
			continue
		}
		names = append(names, name)
		batch = append(batch, mls.SignatureCheck{Suite: mls.X25519AES128SHA256Ed25519, PublicKey: mls.SignatureKey(c.Key), Message: c.Message, Signature: c.Signature})
	}
	if len(batch) == 0 {
		return nil
	}
	if err := g.verify(batch); err != nil {
		return err
	}
	for _, n := range names {
		g.proven[n] = struct{}{}
	}
	return nil
}

func (g *guard) proveTree(tree *mls.RatchetTree, now time.Time) error {
	var all []pass.Check
	for _, l := range tree.Members() {
		checks, err := g.checks(l, now)
		if err != nil {
			return err
		}
		all = append(all, checks...)
	}
	return g.prove(all)
}

func (g *guard) VerifyLeaf(c mls.LeafCheck) error {
	checks, err := g.checks(c.Leaf, c.Now)
	if err != nil {
		return err
	}
	return g.prove(checks)
}

func (g *guard) VerifyExternalSender(s *mls.ExternalSender, _ *mls.GroupContext, now time.Time) error {
	for _, key := range g.trust.RemovalKeys(now) {
		if bytes.Equal(key, s.SignatureKey) {
			return nil
		}
	}
	return errors.New("not the removal key")
}

func (g *guard) Client(l *mls.LeafNode) string {
	id := conclave.DeviceOf(l.SignatureKey)
	return string(id[:])
}

// remembering verifies each signature once: a room is made by many joins, which are not what is measured.
func remembering() mls.BatchVerifier {
	seen := make(map[[32]byte]struct{})
	return func(checks []mls.SignatureCheck) error {
		for _, c := range checks {
			name := sha256.Sum256(bytes.Join([][]byte{c.PublicKey, c.Signature, c.Message}, nil))
			if _, ok := seen[name]; ok {
				continue
			}
			if err := c.Verify(); err != nil {
				return err
			}
			seen[name] = struct{}{}
		}
		return nil
	}
}

// prepare makes a room of n members who joined one after the other. Only the first and the newest stay alive.
func prepare(n int) (*room, error) {
	r := &room{Now: time.Now().Unix()}
	if _, err := rand.Read(r.Meeting[:]); err != nil {
		return nil, err
	}
	if err := r.found(); err != nil {
		return nil, err
	}
	g, err := r.guard(remembering())
	if err != nil {
		return nil, err
	}
	m := r.meeting()
	context, err := m.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if r.First, err = r.enrol(0); err != nil {
		return nil, err
	}
	cfg, err := r.First.config(g)
	if err != nil {
		return nil, err
	}
	first, err := member.Create(cfg, r.Meeting[:], mls.Extensions{
		{Type: pass.ExtensionMeeting, Data: context},
		mls.RequiredCapabilitiesExtension(mls.RequiredCapabilities{Extensions: gate.Extensions}),
		mls.ExternalSendersExtension([]mls.ExternalSender{{SignatureKey: r.organisation.removal.Public(), Credential: mls.BasicCredential([]byte(pass.ExternalSenderIdentity))}}),
	}, r.First.leaf(), r.time())
	if err != nil {
		return nil, err
	}
	var last *member.Group
	for i := 1; i < n; i++ {
		if r.Last, err = r.enrol(i); err != nil {
			return nil, err
		}
		var commit []byte
		if last, commit, err = r.join(g, first, &r.Last); err != nil {
			return nil, err
		}
		if err := apply(first, commit, r.time()); err != nil {
			return nil, err
		}
	}
	return r, r.finish(g, first, last)
}

// join makes a device's external commit to the group that host is in.
func (r *room) join(g *guard, host *member.Group, d *device) (*member.Group, []byte, error) {
	info, err := host.GroupInfo(false)
	if err != nil {
		return nil, nil, err
	}
	var m mls.Message
	if err := mls.Unmarshal(info, &m); err != nil {
		return nil, nil, err
	}
	cfg, err := d.config(g)
	if err != nil {
		return nil, nil, err
	}
	return member.JoinExternal(cfg, m.GroupInfo, host.Tree().Clone(), d.leaf(), member.ExternalOptions{}, r.time())
}

func apply(g *member.Group, commit []byte, now time.Time) error {
	p, err := g.Process(commit, now)
	if err != nil {
		return err
	}
	return g.Merge(p.Commit)
}

// finish writes down the epoch that is measured, and the messages in it.
func (r *room) finish(g *guard, first, last *member.Group) (err error) {
	if r.Info, err = first.GroupInfo(false); err != nil {
		return err
	}
	r.Tree = mls.Marshal(first.Tree())
	for d, group := range map[*device]*member.Group{&r.First: first, &r.Last: last} {
		var s member.Snapshot
		if err := group.Save(&s); err != nil {
			return err
		}
		d.Snapshot = bytes.Clone(s.Bytes())
	}
	if r.Joiner, err = r.enrol(1 << 20); err != nil {
		return err
	}
	if _, r.Join, err = r.join(g, first, &r.Joiner); err != nil {
		return err
	}
	var m mls.Message
	if err := mls.Unmarshal(r.Info, &m); err != nil {
		return err
	}
	f, err := mls.NewFollower(m.GroupInfo, first.Tree().Clone(), mls.NewRules(mls.Config{Verifier: g, Signatures: g.verify}), r.time())
	if err != nil {
		return err
	}
	if r.Proposal, err = f.ExternalRemove(r.organisation.removal, 0, mls.LeafIndex(first.Tree().MemberCount()/2)); err != nil {
		return err
	}
	if _, err := first.Process(r.Proposal, r.time()); err != nil {
		return err
	}
	s, err := first.Commit(member.CommitOptions{}, r.time())
	if err != nil {
		return err
	}
	r.Removal = s.Message()
	return nil
}
