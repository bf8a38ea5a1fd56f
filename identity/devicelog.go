package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"conclave"
	"conclave/gate"
	"conclave/merkle"
	"conclave/pass"
	"conclave/store"
)

// DeviceLog is the organisation's device log: every statement and every grant is a leaf of it before anybody is given it.
// It may be used by several goroutines. All hashes are in memory: 64 bytes a leaf, and a device has a leaf a week.
type DeviceLog struct {
	store store.Store
	org   *Organisation

	mu         sync.Mutex
	tree       merkle.Tree                  // guarded by mu
	places     map[merkle.Hash]merkle.Index // by leaf hash; guarded by mu
	signed     []byte                       // the last checkpoint; guarded by mu
	signedSize merkle.Size                  // guarded by mu
}

// checkpointKey is where the last checkpoint is kept: the stream must never be shorter than it says.
const checkpointKey store.Key = "devicelog.checkpoint"

// openBatch is how many leaves are read at once.
const openBatch = 1000

// errDeviceLog says what to do, since nobody may be let in meanwhile.
var errDeviceLog = errors.New("identity: the device log is not the one that was last signed: the store has lost or changed entries; restore it from a backup, do not sign on")

// openDeviceLog reads the log, holds it against what was last signed, and enters grants that do not stand there yet.
func openDeviceLog(ctx context.Context, st store.Store, o *Organisation) (*DeviceLog, error) {
	l := &DeviceLog{store: st, org: o, places: map[merkle.Hash]merkle.Index{}}
	for from := store.Sequence(1); ; {
		records, err := st.Read(ctx, store.Devices, from, openBatch)
		if err != nil {
			return nil, fmt.Errorf("identity: read the device log: %w", err)
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if r.Sequence != from {
				return nil, errDeviceLog
			}
			l.enter(r.Value)
			from++
		}
	}
	if err := l.compare(ctx); err != nil {
		return nil, err
	}
	for _, g := range o.Grants {
		if err := l.add(ctx, pass.LogLeaf(pass.LogGrant, o.ID, "", conclave.DeviceID{}, g)); err != nil {
			return nil, err
		}
	}
	return l, l.sign(ctx)
}

// compare holds the log against its last signed checkpoint.
func (l *DeviceLog) compare(ctx context.Context) error {
	stored, err := l.store.Get(ctx, checkpointKey)
	if errors.Is(err, store.ErrNotFound) {
		if l.tree.Size() > 0 {
			return errDeviceLog
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("identity: read the device log: %w", err)
	}
	c, err := merkle.Unverified(stored.Value) // our own; what matters is whether the log is still it
	if err != nil {
		return errDeviceLog
	}
	if root, err := l.tree.RootAt(c.Size); err != nil || root != c.Root {
		return errDeviceLog
	}
	return nil
}

// enter takes a leaf that is durable.
func (l *DeviceLog) enter(leaf []byte) {
	hash := merkle.LeafHash(leaf)
	l.places[hash] = l.tree.AppendHash(hash)
}

// add makes a leaf durable, unless it stands there already. The caller holds mu, or is the only one.
func (l *DeviceLog) add(ctx context.Context, leaf []byte) error {
	if _, ok := l.places[merkle.LeafHash(leaf)]; ok {
		return nil
	}
	sequence, err := l.store.Append(ctx, store.Devices, leaf)
	if err != nil {
		return fmt.Errorf("identity: write the device log: %w", err)
	}
	// An append that failed may have been written all the same: its leaf then stands before this one.
	for next := store.Sequence(l.tree.Size() + 1); next <= sequence; {
		records, err := l.store.Read(ctx, store.Devices, next, int(min(sequence-next+1, openBatch)))
		if err != nil || len(records) == 0 {
			return fmt.Errorf("identity: read the device log: %w", firstOf(err, errDeviceLog))
		}
		for _, r := range records {
			l.enter(r.Value)
			next++
		}
	}
	return nil
}

func firstOf(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// sign makes and keeps a checkpoint of all that stands in the log.
func (l *DeviceLog) sign(ctx context.Context) error {
	if l.signedSize == l.tree.Size() {
		return nil
	}
	c := merkle.Checkpoint{Origin: gate.DeviceLogOrigin(l.org.ID), Size: l.tree.Size(), Root: l.tree.Root()}
	signed, err := c.Sign(l.org.log)
	if err != nil {
		return fmt.Errorf("identity: sign the device log: %w", err)
	}
	if _, err := l.store.Put(ctx, checkpointKey, signed); err != nil {
		return fmt.Errorf("identity: keep the device log's checkpoint: %w", err)
	}
	l.signed, l.signedSize = signed, c.Size
	return nil
}

// addStatement enters a statement that was just signed, before anybody is given it.
func (l *DeviceLog) addStatement(ctx context.Context, person conclave.PersonID, device conclave.DeviceID, statement []byte) error {
	return l.addLeaf(ctx, pass.LogLeaf(pass.LogStatement, l.org.ID, person, device, statement))
}

// addRevocation enters that a device was taken out of use.
func (l *DeviceLog) addRevocation(ctx context.Context, person conclave.PersonID, device conclave.DeviceID) error {
	return l.addLeaf(ctx, pass.LogLeaf(pass.LogRevocation, l.org.ID, person, device, nil))
}

func (l *DeviceLog) addLeaf(ctx context.Context, leaf []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.add(ctx, leaf); err != nil {
		return err
	}
	return l.sign(ctx)
}

// Proof shows that a statement stands in the log as it is now (C2SP tlog-proof). The caller has verified the statement: one
// that does not stand there, since the store failed when it was signed, is entered.
func (l *DeviceLog) Proof(ctx context.Context, statement []byte) ([]byte, error) {
	s, err := pass.ParseStatement(statement)
	if err != nil {
		return nil, err
	}
	leaf := pass.LogLeaf(pass.LogStatement, l.org.ID, s.Person, s.Device(), statement)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.add(ctx, leaf); err != nil {
		return nil, err
	}
	if err := l.sign(ctx); err != nil {
		return nil, err
	}
	place := l.places[merkle.LeafHash(leaf)]
	path, err := l.tree.Inclusion(place, l.signedSize)
	if err != nil {
		return nil, err
	}
	return (&merkle.Proof{Index: place, Path: path, Checkpoint: l.signed}).Encode(), nil
}

// Consistency shows that the log only grew from one size to another (RFC 6962, Section 2.1.2). It fails for sizes that the
// log never had.
func (l *DeviceLog) Consistency(from, to uint64) ([][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	path, err := l.tree.Consistency(merkle.Size(from), merkle.Size(to))
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out, nil
}

// Leaves returns at most limit leaves from a place on, and the last checkpoint: for those who watch the log for
// enrolments in their name.
func (l *DeviceLog) Leaves(ctx context.Context, from uint64, limit int) (leaves [][]byte, checkpoint []byte, err error) {
	l.mu.Lock()
	checkpoint = l.signed
	l.mu.Unlock()
	records, err := l.store.Read(ctx, store.Devices, store.Sequence(from+1), limit)
	if err != nil {
		return nil, nil, fmt.Errorf("identity: read the device log: %w", err)
	}
	for _, r := range records {
		leaves = append(leaves, r.Value)
	}
	return leaves, checkpoint, nil
}

// DeviceLog returns the organisation's device log, which is read when it is first asked for.
func (d *Directory) DeviceLog(ctx context.Context) (*DeviceLog, error) {
	d.logMu.Lock()
	defer d.logMu.Unlock()
	if d.log == nil {
		l, err := openDeviceLog(ctx, d.store, d.organisation)
		if err != nil {
			return nil, err
		}
		d.log = l
	}
	return d.log, nil
}

// logged enters a statement in the device log.
func (d *Directory) logged(ctx context.Context, person conclave.PersonID, device conclave.DeviceID, statement []byte) error {
	l, err := d.DeviceLog(ctx)
	if err != nil {
		return err
	}
	return l.addStatement(ctx, person, device, statement)
}
