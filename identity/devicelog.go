package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"conclave"
	"conclave/audit"
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

	copy    audit.Copy // the plain copy; nil: none
	copying sync.Mutex // guards the use of copy
	// changed has a value when the copy is behind.
	changed chan struct{}

	mu         sync.Mutex
	tree       merkle.Tree                  // guarded by mu
	places     map[merkle.Hash]merkle.Index // by leaf hash; guarded by mu
	signed     []byte                       // the last checkpoint; guarded by mu
	signedSize merkle.Size                  // guarded by mu
	state      audit.State                  // what the copy has, or is about to have; guarded by mu
}

// checkpointKey is where the last checkpoint is kept: the stream must never be shorter than it says.
const checkpointKey store.Key = "devicelog.checkpoint"

// openBatch is how many leaves are read at once.
const openBatch = 1000

// errDeviceLog says what to do, since nobody may be let in meanwhile.
var errDeviceLog = errors.New("identity: the device log is not the one that was last signed: the store has lost or changed entries. " +
	"The server does not run on it: conclave audit restore brings back what the plain copy in the folder devices holds; " +
	"or put back the data folder from its backup and run it then. Nothing was changed")

// openDeviceLog reads the log, holds it against what was last signed, in the store and in its plain copy, and enters grants
// that do not stand there yet.
func openDeviceLog(ctx context.Context, st store.Store, o *Organisation, plain audit.Copy) (*DeviceLog, error) {
	l := &DeviceLog{store: st, org: o, copy: plain, changed: make(chan struct{}, 1), places: map[merkle.Hash]merkle.Index{}}
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

// compare holds the log against its last signed checkpoints.
func (l *DeviceLog) compare(ctx context.Context) error {
	stored, err := l.store.Get(ctx, checkpointKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("identity: read the device log: %w", err)
	}
	known := [][]byte{stored.Value}
	if err != nil && l.tree.Size() > 0 {
		return errDeviceLog
	}
	if l.copy != nil {
		signed, err := l.copy.Checkpoint()
		if err != nil {
			return err
		}
		known = append(known, signed)
	}
	keys, err := l.keys()
	if err != nil {
		return err
	}
	for _, signed := range known {
		if signed == nil {
			continue
		}
		c, err := merkle.Open(signed, keys...)
		if err != nil {
			return errDeviceLog
		}
		if root, err := l.tree.RootAt(c.Size); err != nil || root != c.Root {
			return errDeviceLog
		}
	}
	return nil
}

// keys are those that sign or have signed for the log.
func (l *DeviceLog) keys() ([]merkle.Key, error) {
	origin := gate.DeviceLogOrigin(l.org.ID)
	keys := []merkle.Key{merkle.LogKey(origin, l.org.log.Public().(ed25519.PublicKey))}
	for _, b := range l.org.Grants {
		g, err := pass.ParseGrant(b)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		if g.Role == pass.RoleLog {
			keys = append(keys, merkle.LogKey(origin, g.Key))
		}
	}
	return keys, nil
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
	l.wake()
	return nil
}

func (l *DeviceLog) wake() {
	select {
	case l.changed <- struct{}{}:
	default: // it has a value already
	}
}

// Changed has a value when Publish has something to do.
func (l *DeviceLog) Changed() <-chan struct{} { return l.changed }

// Publish brings the plain copy up to what is signed. now is the server's clock.
func (l *DeviceLog) Publish(ctx context.Context, now time.Time) error {
	if l.copy == nil {
		return nil
	}
	l.copying.Lock()
	defer l.copying.Unlock()
	l.mu.Lock()
	signed, size := l.signed, l.signedSize
	if l.state.Size != size {
		l.state = audit.State{Signed: signed, Size: size, At: now}
	}
	l.mu.Unlock()
	for l.copy.Size() < size {
		records, err := l.store.Read(ctx, store.Devices, store.Sequence(l.copy.Size()+1), int(min(size-l.copy.Size(), openBatch)))
		if err != nil || len(records) == 0 {
			return fmt.Errorf("identity: read the device log: %w", firstOf(err, errDeviceLog))
		}
		for _, r := range records {
			if err := l.copy.Add(r.Value, nil); err != nil {
				return err
			}
		}
	}
	return l.copy.Publish(signed, now)
}

// State returns what the plain copy has: for witnesses.
func (l *DeviceLog) State() audit.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// ProveFrom proves that a state of the log goes on from the log at size from.
func (l *DeviceLog) ProveFrom(from merkle.Size, signed []byte) ([]merkle.Hash, error) {
	c, err := merkle.Unverified(signed) // our own
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree.Consistency(from, c.Size)
}

// SetCosigned keeps a state that enough witnesses have cosigned.
func (l *DeviceLog) SetCosigned(state audit.State) error {
	l.copying.Lock()
	defer l.copying.Unlock()
	return l.copy.Cosigned(state.Signed)
}

// RestoreDeviceLog brings back what the stream in st has lost at its end from the leaves of a plain copy that was verified.
// Nothing is written where the stream has a leaf that is not the copy's.
func RestoreDeviceLog(ctx context.Context, st store.Store, leaves iter.Seq2[[]byte, error]) (added uint64, err error) {
	at := store.Sequence(0)
	var have []store.Record
	for leaf, err := range leaves {
		if err != nil {
			return added, err
		}
		at++
		if len(have) == 0 && added == 0 {
			if have, err = st.Read(ctx, store.Devices, at, openBatch); err != nil {
				return 0, fmt.Errorf("identity: read the device log: %w", err)
			}
		}
		if len(have) > 0 {
			if !bytes.Equal(have[0].Value, leaf) {
				return 0, fmt.Errorf("identity: entry %d of the device log in the store is not the copy's: put back the data folder from its backup first; nothing was changed", at)
			}
			have = have[1:]
			continue
		}
		if _, err := st.Append(ctx, store.Devices, leaf); err != nil {
			return added, fmt.Errorf("identity: restore the device log: %w", err)
		}
		added++
	}
	return added, nil
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

// OpenDeviceLog opens the organisation's device log with its plain copy, which may be nil, and refuses where it is not the one
// that was signed. Call it before the directory is used; else the log is opened when it is first asked for, without a copy.
func (d *Directory) OpenDeviceLog(ctx context.Context, plain audit.Copy) (*DeviceLog, error) {
	d.logMu.Lock()
	defer d.logMu.Unlock()
	if d.log != nil {
		return nil, errors.New("identity: the device log is open already")
	}
	l, err := openDeviceLog(ctx, d.store, d.organisation, plain)
	if err == nil {
		d.log = l
	}
	return l, err
}

// DeviceLog returns the organisation's device log, which is read when it is first asked for unless it was opened before.
func (d *Directory) DeviceLog(ctx context.Context) (*DeviceLog, error) {
	d.logMu.Lock()
	defer d.logMu.Unlock()
	if d.log == nil {
		l, err := openDeviceLog(ctx, d.store, d.organisation, nil)
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
