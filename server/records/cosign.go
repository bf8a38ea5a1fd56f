package records

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"conclave/audit"
	"conclave/audit/folder"
	"conclave/merkle"
	"conclave/witness"
)

// asked is what is known of one witness.
type asked struct {
	*witness.Remote
	seen  merkle.Size   // what it signed last
	rest  time.Duration // how long it is left alone after a failure
	until time.Time     // and until when
}

// cosignable is one of the two logs, as witnesses see it.
type cosignable struct {
	name  string // for our log
	state func() audit.State
	prove func(from merkle.Size, signed []byte) ([]merkle.Hash, error)
	keep  func(state audit.State, at time.Time) error
	asked []*asked
	done  []byte // the newest checkpoint that enough have signed
}

// cosignables are the logs that witnesses are asked to sign.
func (k *Keeper) cosignables() []*cosignable {
	logs := []*cosignable{{name: "audit", state: k.audit.State, prove: k.audit.Consistency,
		keep: func(state audit.State, at time.Time) error { return k.audit.SetCosigned(state, at, k.now()) }}}
	if k.Devices != "" {
		logs = append(logs, &cosignable{name: folder.Devices, state: k.devices.State, prove: k.devices.ProveFrom,
			keep: func(state audit.State, _ time.Time) error { return k.devices.SetCosigned(state) }})
	}
	for _, l := range logs {
		for _, w := range k.Witnesses {
			l.asked = append(l.asked, &asked{Remote: w})
		}
	}
	return logs
}

// cosign asks the witnesses whenever there is a new checkpoint. One that is away is asked again later; nothing waits for it
// but meetings of levels that demand it.
func (k *Keeper) cosign(ctx context.Context) {
	logs := k.cosignables()
	for again := false; ; {
		if !again {
			select {
			case <-ctx.Done():
				return
			case <-k.published:
			}
		}
		again = false
		for _, l := range logs {
			again = !k.cosignOnce(ctx, l) || again
		}
		if !Pause(ctx, cosignEvery) {
			return
		}
	}
}

// cosignOnce has the newest checkpoint of a log signed, and says whether enough have done so.
func (k *Keeper) cosignOnce(ctx context.Context, l *cosignable) bool {
	state := l.state()
	if state.Signed == nil || string(state.Signed) == string(l.done) {
		return true
	}
	lines := make([][]byte, len(l.asked))
	var wait sync.WaitGroup
	for i, w := range l.asked {
		if time.Now().Before(w.until) {
			continue
		}
		wait.Go(func() {
			line, err := k.ask(ctx, l, w, state)
			if err == nil {
				lines[i], w.seen, w.rest = line, state.Size, 0
				return
			}
			w.rest = min(max(2*w.rest, witnessPause), witnessPauseMax)
			w.until = time.Now().Add(w.rest)
			if errors.Is(err, witness.ErrInconsistent) {
				k.Log.Error("a witness says that this log has two histories", "witness", w.Key().Name(), "log", l.name)
			} else if ctx.Err() == nil {
				k.Log.Warn("a witness did not sign", "witness", w.Key().Name(), "log", l.name, "cause", err)
			}
		})
	}
	wait.Wait()
	if !k.gather(state, l, lines) {
		return false
	}
	l.done = state.Signed
	return true
}

// gather puts the witnesses' lines under the checkpoint.
func (k *Keeper) gather(state audit.State, l *cosignable, lines [][]byte) bool {
	witnesses := l.asked
	enough := k.Quorum
	if enough == 0 {
		enough = len(witnesses)
	}
	var latest time.Time
	got := 0
	for i, line := range lines {
		if line == nil {
			continue
		}
		with, err := merkle.AddCosignature(state.Signed, line, witnesses[i].Key())
		if err != nil {
			k.Log.Warn("a witness did not sign", "witness", witnesses[i].Key().Name(), "cause", err)
			continue
		}
		at, _ := merkle.Cosignature(with, witnesses[i].Key())
		if at.After(latest) {
			latest = at
		}
		state.Signed = with
		got++
	}
	if got < enough {
		return false
	}
	if err := l.keep(state, latest); err != nil {
		k.Log.Error("the cosigned checkpoint is not kept", "cause", err)
	}
	return true
}

// ask asks one witness, twice if it knows another state than we thought.
func (k *Keeper) ask(ctx context.Context, l *cosignable, w *asked, state audit.State) ([]byte, error) {
	var line []byte
	var err error
	for range 2 {
		var proof []merkle.Hash
		if w.seen > state.Size {
			return nil, fmt.Errorf("%w: it has signed %d records, the log has %d", witness.ErrInconsistent, w.seen, state.Size)
		}
		if proof, err = l.prove(w.seen, state.Signed); err != nil {
			return nil, err
		}
		line, err = w.Ask(ctx, w.seen, proof, state.Signed)
		var conflict *witness.ConflictError
		if !errors.As(err, &conflict) {
			break
		}
		if w.seen == conflict.Size { // at the same size it has another root
			return nil, witness.ErrInconsistent
		}
		w.seen = conflict.Size
	}
	return line, err
}
