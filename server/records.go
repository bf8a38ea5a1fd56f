package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/identity"
	"conclave/merkle"
	"conclave/store"
	"conclave/witness"
)

// RecordsConfig says where the plain copies of audit log and device log stand and who cosigns them.
type RecordsConfig struct {
	// Folder is the audit log's copy, Devices the device log's; empty: none, and then no witness either.
	Folder, Devices string
	// Witnesses are asked for their signature whenever a log has grown. Quorum of them are enough; 0: all.
	Witnesses []*witness.Remote
	Quorum    int
}

const (
	// publishEvery is the least time between two checkpoints: at most so much of the log's end is without a signature.
	publishEvery = 100 * time.Millisecond
	// publishRetry is the pause after a checkpoint could not be signed or written.
	publishRetry = time.Second
	// cosignEvery is the least time between two rounds of asking witnesses.
	cosignEvery = time.Second
	// witnessPause and witnessPauseMax bound how long a witness that did not sign is left alone.
	witnessPause    = 2 * time.Second
	witnessPauseMax = time.Minute
	// lastWords is how long the last checkpoint may take when the server ends.
	lastWords = 5 * time.Second
)

// problemNotCosigned is why a meeting whose level demands witnesses does not open.
var problemNotCosigned = conclave.Problem{Code: "record_not_cosigned", Fix: "wait_for_witnesses"}

// records runs beside the log: it signs, copies and has cosigned what was recorded.
type records struct {
	*Server
	cancel context.CancelFunc
	wait   sync.WaitGroup
	// written is closed when nothing more is written.
	written chan struct{}
	// published has a value when there is a checkpoint that witnesses have not seen.
	published chan struct{}
}

// openDevices opens the device log, or refuses where it is not the one that was signed.
func (s *Server) openDevices(ctx context.Context) error {
	var plain audit.Copy
	if s.cfg.Records.Devices != "" {
		o := s.cfg.Organisation
		w, err := folder.OpenWriter(s.cfg.Records.Devices, folder.Organisation{ID: o.ID, Root: o.Root, Grants: o.Grants, Log: folder.Devices})
		if err != nil {
			return err
		}
		plain = w
	}
	log, err := s.directory.OpenDeviceLog(ctx, plain)
	if err == nil {
		s.devices = log
	}
	return err
}

// openRecords opens the audit log, or refuses where it is not the one that was signed.
func (s *Server) openRecords(ctx context.Context) (*audit.Log, error) {
	o := s.cfg.Organisation
	owner := folder.Organisation{ID: o.ID, Root: o.Root, Grants: o.Grants}
	former, err := owner.LogKeys()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	cfg := audit.Config{Former: former, Store: s.cfg.Store, Origin: owner.Origin(), Key: o.LogKey(), Rand: s.cfg.Rand, Clocks: s.cfg.Clocks}
	if s.cfg.Records.Folder != "" {
		w, err := folder.OpenWriter(s.cfg.Records.Folder, owner)
		if err != nil {
			return nil, err
		}
		cfg.Copy = w
	}
	if n := len(s.cfg.Records.Witnesses); s.cfg.Records.Quorum < 0 || s.cfg.Records.Quorum > n || n > 0 && cfg.Copy == nil {
		return nil, fmt.Errorf("server: %d witnesses are to sign, of %d", s.cfg.Records.Quorum, n)
	}
	begin := time.Now()
	told := begin
	cfg.Progress = func(done, all merkle.Size) {
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			s.cfg.Log.Info("verifying the audit log", "records", uint64(done), "of", uint64(all))
		}
	}
	log, err := audit.Open(ctx, cfg)
	if err == nil {
		_, size := log.Checkpoint()
		s.cfg.Log.Info("the audit log is as it was signed", "records", uint64(size), "took_ms", time.Since(begin).Milliseconds())
	}
	return log, err
}

// startRecords starts writing, signing and asking witnesses.
func (s *Server) startRecords(ctx context.Context) error {
	if err := s.audit.StartWriting(ctx, audit.Clock{Now: time.Now, After: time.After}); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.records = &records{Server: s, cancel: cancel, written: make(chan struct{}), published: make(chan struct{}, 1)}
	s.records.wait.Go(func() { s.records.write(ctx) })
	s.records.wait.Go(func() { s.records.publish(ctx) })
	s.records.wait.Go(func() { s.records.publishDevices(ctx) })
	if len(s.cfg.Records.Witnesses) > 0 {
		s.records.wait.Go(func() { s.records.cosign(ctx) })
	}
	return nil
}

// end signs what is left and waits for the goroutines.
func (r *records) end() {
	r.cancel()
	r.wait.Wait()
}

// write writes records until ctx is done, and what is left then.
func (r *records) write(ctx context.Context) {
	defer close(r.written)
	unwritten := r.audit.Write(ctx, lastWords, func(cause error) {
		if cause != nil {
			r.cfg.Log.Error("what protects goes on without its record, and nobody is let in until the disk takes it", "cause", cause)
			return
		}
		r.cfg.Log.Info("the disk has taken all records that waited")
	})
	if unwritten > 0 {
		r.cfg.Log.Error("records of what protected are lost: the disk did not take them before the end", "records", unwritten)
		return
	}
	last, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if _, err := r.cfg.Store.Put(last, endedKey, []byte("{}")); err != nil {
		r.cfg.Log.Warn("that all was recorded before the end is not kept: the next start will not know", "cause", err)
	}
}

// endedKey stands in the store from the end of a server that had written all its records to the next start.
const endedKey store.Key = "ended.whole"

// codeNotEnded is of KindStarted: the server before was killed, or lost records at its end. Of what protected in its last
// moments something may be missing.
const codeNotEnded = "not_ended"

// recordStart records that the server started.
func (s *Server) recordStart(ctx context.Context) error {
	codes, err := s.lastEnd(ctx)
	if err == nil {
		_, err = s.audit.Record(ctx, audit.Record{Kind: audit.KindStarted, Time: s.now(), Codes: codes})
	}
	return err
}

// lastEnd returns the codes for the record of a start: how the server before ended. The mark of its end is taken away first.
func (s *Server) lastEnd(ctx context.Context) ([]string, error) {
	_, err := s.cfg.Store.Get(ctx, endedKey)
	if err == nil {
		return nil, s.cfg.Store.Delete(ctx, endedKey)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	before, err := s.audit.Read(ctx, 1, 1)
	if err != nil || len(before) == 0 { // the first start of all
		return nil, err
	}
	return []string{codeNotEnded}, nil
}

// publish signs a checkpoint soon after each change, until ctx is done, and a last one then.
func (r *records) publish(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			<-r.written
			last, cancel := context.WithTimeout(context.Background(), lastWords)
			r.publishOnce(last)
			cancel()
			return
		case <-r.audit.Changed():
		}
		for !r.publishOnce(ctx) && pause(ctx, publishRetry) {
		}
		r.tellWitnesses()
		pause(ctx, publishEvery)
	}
}

func (r *records) tellWitnesses() {
	select {
	case r.published <- struct{}{}:
	default: // they will look
	}
}

// publishDevices brings the device log's copy up to date soon after each change, until ctx is done, and once more then.
func (r *records) publishDevices(ctx context.Context) {
	once := func(ctx context.Context) bool {
		err := r.devices.Publish(ctx, r.now())
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.Error("no copy of the device log", "cause", err)
		}
		return err == nil
	}
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.Background(), lastWords)
			once(last)
			cancel()
			return
		case <-r.devices.Changed():
		}
		for !once(ctx) && pause(ctx, publishRetry) {
		}
		r.tellWitnesses()
		pause(ctx, publishEvery)
	}
}

func (r *records) publishOnce(ctx context.Context) bool {
	err := r.audit.Publish(ctx, r.now())
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.Error("no checkpoint of the audit log", "cause", err)
	}
	return err == nil
}

// pause waits, and says whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

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
func (r *records) cosignables() []*cosignable {
	logs := []*cosignable{{name: "audit", state: r.audit.State, prove: r.audit.Consistency,
		keep: func(state audit.State, at time.Time) error { return r.audit.SetCosigned(state, at, r.now()) }}}
	if r.cfg.Records.Devices != "" {
		logs = append(logs, &cosignable{name: folder.Devices, state: r.devices.State, prove: r.devices.ProveFrom,
			keep: func(state audit.State, _ time.Time) error { return r.devices.SetCosigned(state) }})
	}
	for _, l := range logs {
		for _, w := range r.cfg.Records.Witnesses {
			l.asked = append(l.asked, &asked{Remote: w})
		}
	}
	return logs
}

// cosign asks the witnesses whenever there is a new checkpoint. One that is away is asked again later; nothing waits for it
// but meetings of levels that demand it.
func (r *records) cosign(ctx context.Context) {
	logs := r.cosignables()
	for again := false; ; {
		if !again {
			select {
			case <-ctx.Done():
				return
			case <-r.published:
			}
		}
		again = false
		for _, l := range logs {
			again = !r.cosignOnce(ctx, l) || again
		}
		if !pause(ctx, cosignEvery) {
			return
		}
	}
}

// cosignOnce has the newest checkpoint of a log signed, and says whether enough have done so.
func (r *records) cosignOnce(ctx context.Context, l *cosignable) bool {
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
			line, err := r.ask(ctx, l, w, state)
			if err == nil {
				lines[i], w.seen, w.rest = line, state.Size, 0
				return
			}
			w.rest = min(max(2*w.rest, witnessPause), witnessPauseMax)
			w.until = time.Now().Add(w.rest)
			if errors.Is(err, witness.ErrInconsistent) {
				r.cfg.Log.Error("a witness says that this log has two histories", "witness", w.Key().Name(), "log", l.name)
			} else if ctx.Err() == nil {
				r.cfg.Log.Warn("a witness did not sign", "witness", w.Key().Name(), "log", l.name, "cause", err)
			}
		})
	}
	wait.Wait()
	if !r.gather(state, l, lines) {
		return false
	}
	l.done = state.Signed
	return true
}

// gather puts the witnesses' lines under the checkpoint.
func (r *records) gather(state audit.State, l *cosignable, lines [][]byte) bool {
	witnesses := l.asked
	enough := r.cfg.Records.Quorum
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
			r.cfg.Log.Warn("a witness did not sign", "witness", witnesses[i].Key().Name(), "cause", err)
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
		r.cfg.Log.Error("the cosigned checkpoint is not kept", "cause", err)
	}
	return true
}

// ask asks one witness, twice if it knows another state than we thought.
func (r *records) ask(ctx context.Context, l *cosignable, w *asked, state audit.State) ([]byte, error) {
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

// witnessed says whether a meeting may open: where its level demands it, witnesses must have signed the log with the record
// of its opening, and not have been away since.
func (s *Server) witnessed(m *identity.Meeting) error {
	if !s.policy().Levels().Cosigned(m.Level) {
		return nil
	}
	if _, ok := s.audit.Cosigned(s.now()); !ok || !s.audit.Covered(m.Opened) {
		return problemNotCosigned
	}
	return nil
}

// unopened refuses who asks for a meeting that may not open; other errors are handed on.
func (v *visitor) unopened(ctx context.Context, j *judgement, leg conclave.LegID, err error) error {
	var p conclave.Problem
	if !errors.As(err, &p) {
		return err
	}
	if _, err := v.audit.Record(ctx, audit.Record{Kind: audit.KindRuling, Time: v.now(), Meeting: v.meeting, Leg: leg, Device: v.asker.device,
		Outcome: outcomeWord(conclave.Refuse), Level: &j.request.Meeting.Level, Codes: []string{p.Code}}); err != nil {
		return err
	}
	v.refuse([]conclave.Problem{p})
	return nil
}

// eraseRecords erases the personal parts of records: of a person and their devices, of devices, or older than a time.
func (s *Server) eraseRecords(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Person  conclave.PersonID   `json:"person"`
		Devices []conclave.DeviceID `json:"devices"`
		Before  time.Time           `json:"before"`
	}
	if err := readJSON(w, r, &q); err != nil {
		s.fail(w, "erase records", err)
		return
	}
	if q.Person == "" && len(q.Devices) == 0 && q.Before.IsZero() {
		s.fail(w, "erase records", problemRequest)
		return
	}
	devices := map[conclave.DeviceID]bool{}
	for _, d := range q.Devices {
		devices[d] = true
	}
	if q.Person != "" {
		// A person may be struck off already; their devices are known none the less.
		known, err := s.directory.Devices(r.Context(), q.Person)
		if err != nil {
			s.fail(w, "erase records", err)
			return
		}
		for _, d := range known {
			devices[d.ID] = true
		}
	}
	done, err := s.audit.Erase(r.Context(), s.now(), func(e audit.Entry) bool {
		// The key of a phone call stands in no directory: what it was ruled on as says whose it is, and comes before all else of it.
		if q.Person != "" && e.Record.Kind == audit.KindRuling && e.Record.Person == q.Person && e.Record.Device != (conclave.DeviceID{}) {
			devices[e.Record.Device] = true
		}
		if !q.Before.IsZero() && !e.Record.Time.Before(q.Before) {
			return false
		}
		return q.Person == "" && len(devices) == 0 || e.Record.Concerns(q.Person) || devices[e.Record.Device]
	})
	if err != nil {
		s.fail(w, "erase records", err)
		return
	}
	s.answer(w, http.StatusOK, struct {
		Records uint64 `json:"records"`
	}{done.Records})
}
