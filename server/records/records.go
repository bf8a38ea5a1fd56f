// Package records keeps a server's two logs, the audit log and the device log: it opens them, or refuses where they are not what was
// signed, and then writes, signs, copies and has cosigned what is recorded.
package records

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"conclave/audit"
	"conclave/audit/folder"
	"conclave/identity"
	"conclave/merkle"
	"conclave/store"
	"conclave/witness"
)

// Copies says where the plain copies of audit log and device log stand and who cosigns them.
type Copies struct {
	// Folder is the audit log's copy, Devices the device log's; empty: none, and then no witness either.
	Folder, Devices string
	// Witnesses are asked for their signature whenever a log has grown. Quorum of them are enough; 0: all.
	Witnesses []*witness.Remote
	Quorum    int
}

// Config is what the logs are kept with. No field may be nil but Clocks.
type Config struct {
	Copies
	Organisation *identity.Organisation
	Store        store.Store
	Log          *slog.Logger
	Now          func() time.Time
	Clocks       audit.Clocks // reads Now's clock beside one that nobody sets; nil: there is none
	Rand         io.Reader
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

// OpenAudit opens the audit log, or refuses where it is not the one that was signed.
func (c *Config) OpenAudit(ctx context.Context) (*audit.Log, error) {
	o := c.Organisation
	owner := folder.Organisation{ID: o.ID, Root: o.Root, Grants: o.Grants}
	former, err := owner.LogKeys()
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	cfg := audit.Config{Former: former, Store: c.Store, Origin: owner.Origin(), Key: o.LogKey(), Rand: c.Rand, Clocks: c.Clocks}
	if c.Folder != "" {
		w, err := folder.OpenWriter(c.Folder, owner)
		if err != nil {
			return nil, err
		}
		cfg.Copy = w
	}
	if n := len(c.Witnesses); c.Quorum < 0 || c.Quorum > n || n > 0 && cfg.Copy == nil {
		return nil, fmt.Errorf("records: %d witnesses are to sign, of %d", c.Quorum, n)
	}
	begin := time.Now()
	told := begin
	cfg.Progress = func(done, all merkle.Size) {
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			c.Log.Info("verifying the audit log", "records", uint64(done), "of", uint64(all))
		}
	}
	log, err := audit.Open(ctx, cfg)
	if err == nil {
		_, size := log.Checkpoint()
		c.Log.Info("the audit log is as it was signed", "records", uint64(size), "took_ms", time.Since(begin).Milliseconds())
	}
	return log, err
}

// OpenDevices opens the device log, or refuses where it is not the one that was signed.
func (c *Config) OpenDevices(ctx context.Context, directory *identity.Directory) (*identity.DeviceLog, error) {
	var plain audit.Copy
	if c.Devices != "" {
		o := c.Organisation
		w, err := folder.OpenWriter(c.Devices, folder.Organisation{ID: o.ID, Root: o.Root, Grants: o.Grants, Log: folder.Devices})
		if err != nil {
			return nil, err
		}
		plain = w
	}
	return directory.OpenDeviceLog(ctx, plain)
}

// Keeper runs beside the logs: it signs, copies and has cosigned what was recorded.
type Keeper struct {
	Config
	audit   *audit.Log
	devices *identity.DeviceLog
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	// written is closed when nothing more is written.
	written chan struct{}
	// published has a value when there is a checkpoint that witnesses have not seen.
	published chan struct{}
}

// Start starts writing, signing and asking witnesses, until End.
func (c *Config) Start(ctx context.Context, log *audit.Log, devices *identity.DeviceLog) (*Keeper, error) {
	if err := log.StartWriting(ctx, audit.Clock{Now: time.Now, After: time.After}); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &Keeper{Config: *c, audit: log, devices: devices, cancel: cancel, written: make(chan struct{}), published: make(chan struct{}, 1)}
	k.wait.Go(func() { k.write(ctx) })
	k.wait.Go(func() { k.publish(ctx) })
	k.wait.Go(func() { k.publishDevices(ctx) })
	if len(c.Witnesses) > 0 {
		k.wait.Go(func() { k.cosign(ctx) })
	}
	return k, nil
}

// End signs what is left and waits for the goroutines.
func (k *Keeper) End() {
	k.cancel()
	k.wait.Wait()
}

func (k *Keeper) now() time.Time { return k.Now().UTC() }

// write writes records until ctx is done, and what is left then.
func (k *Keeper) write(ctx context.Context) {
	defer close(k.written)
	unwritten := k.audit.Write(ctx, lastWords, func(cause error) {
		if cause != nil {
			k.Log.Error("what protects goes on without its record, and nobody is let in until the disk takes it", "cause", cause)
			return
		}
		k.Log.Info("the disk has taken all records that waited")
	})
	if unwritten > 0 {
		k.Log.Error("records of what protected are lost: the disk did not take them before the end", "records", unwritten)
		return
	}
	last, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if _, err := k.Store.Put(last, endedKey, []byte("{}")); err != nil {
		k.Log.Warn("that all was recorded before the end is not kept: the next start will not know", "cause", err)
	}
}

// endedKey stands in the store from the end of a server that had written all its records to the next start.
const endedKey store.Key = "ended.whole"

// codeNotEnded is of KindStarted: the server before was killed, or lost records at its end. Of what protected in its last
// moments something may be missing.
const codeNotEnded = "not_ended"

// LastEnd returns the codes for the record of a start: how the server before ended. The mark of its end is taken away first.
func (c *Config) LastEnd(ctx context.Context, log *audit.Log) ([]string, error) {
	_, err := c.Store.Get(ctx, endedKey)
	if err == nil {
		return nil, c.Store.Delete(ctx, endedKey)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	before, err := log.Read(ctx, 1, 1)
	if err != nil || len(before) == 0 { // the first start of all
		return nil, err
	}
	return []string{codeNotEnded}, nil
}

// publish signs a checkpoint soon after each change, until ctx is done, and a last one then.
func (k *Keeper) publish(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			<-k.written
			last, cancel := context.WithTimeout(context.Background(), lastWords)
			k.publishOnce(last)
			cancel()
			return
		case <-k.audit.Changed():
		}
		for !k.publishOnce(ctx) && Pause(ctx, publishRetry) {
		}
		k.tellWitnesses()
		Pause(ctx, publishEvery)
	}
}

func (k *Keeper) tellWitnesses() {
	select {
	case k.published <- struct{}{}:
	default: // they will look
	}
}

// publishDevices brings the device log's copy up to date soon after each change, until ctx is done, and once more then.
func (k *Keeper) publishDevices(ctx context.Context) {
	once := func(ctx context.Context) bool {
		err := k.devices.Publish(ctx, k.now())
		if err != nil && ctx.Err() == nil {
			k.Log.Error("no copy of the device log", "cause", err)
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
		case <-k.devices.Changed():
		}
		for !once(ctx) && Pause(ctx, publishRetry) {
		}
		k.tellWitnesses()
		Pause(ctx, publishEvery)
	}
}

func (k *Keeper) publishOnce(ctx context.Context) bool {
	err := k.audit.Publish(ctx, k.now())
	if err != nil && ctx.Err() == nil {
		k.Log.Error("no checkpoint of the audit log", "cause", err)
	}
	return err == nil
}

// Pause waits, and says whether ctx still lives.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
