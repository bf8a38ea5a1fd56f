package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	bucket = "state"
	// startTimeout is for a disk that recovers; the engine starts in 2 ms with little data.
	startTimeout = 30 * time.Second
	// markerTTL is how long the engine remembers that a key was deleted. Only watchers of a cluster need it.
	markerTTL = time.Hour
)

// JetStream is the embedded engine on one node. Its methods are those of Store.
type JetStream struct {
	dir    string
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	lock   *os.File

	keys shredKeys
	// short says that streams may end before their marks.
	short bool

	mu    sync.Mutex
	marks marks // guarded by mu
}

var _ Store = (*JetStream)(nil)

// Open starts the engine on the folder dir, which it makes with its key file if it does not exist. It refuses to run where
// the key does not open what is there, where data is missing, and where another process holds the folder: the error says
// what to do. The caller closes the store.
func Open(ctx context.Context, dir string, log *slog.Logger) (*JetStream, error) {
	return open(ctx, dir, false, log)
}

// OpenShort is Open for who brings lost records back: it opens a store whose streams have lost their end, too.
func OpenShort(ctx context.Context, dir string, log *slog.Logger) (*JetStream, error) {
	return open(ctx, dir, true, log)
}

func open(ctx context.Context, dir string, short bool, log *slog.Logger) (*JetStream, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: make folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &JetStream{dir: dir, lock: lock, short: short}
	if err := s.start(ctx, log); err != nil {
		s.shutDown()
		return nil, err
	}
	return s, nil
}

func (s *JetStream) start(ctx context.Context, log *slog.Logger) error {
	sealed, err := readSentinel(s.dir)
	if err != nil {
		return err
	}
	key, err := readKey(s.dir, sealed != nil)
	if err != nil {
		return err
	}
	if sealed == nil {
		if err := s.startEngine(key, log); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		return s.prepare(ctx, sealed)
	}
	if err := keepBefore(s.dir); err != nil {
		return err
	}
	if err := s.startEngine(key, log); err != nil {
		return err
	}
	if lost, err := putBack(s.dir); err != nil || lost {
		s.stopEngine()
		if err != nil {
			return err
		}
		log.Warn("the engine had lost a stream, which is put back")
		if err := s.startEngine(key, log); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(s.dir, beforeDir)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return s.prepare(ctx, sealed)
}

// startEngine starts the engine and connects to it.
func (s *JetStream) startEngine(key string, log *slog.Logger) (err error) {
	s.server, err = server.NewServer(&server.Options{
		ServerName:             "conclave",
		DontListen:             true,
		NoSigs:                 true,
		NoSystemAccount:        true,
		MaxPayload:             MaxValue + 64<<10, // and its headers
		JetStream:              true,
		StoreDir:               filepath.Join(s.dir, "engine"),
		JetStreamKey:           key,
		JetStreamCipher:        server.ChaCha,
		JetStreamMaxMemory:     64 << 20, // nothing of ours is kept in memory
		SyncAlways:             true,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return fmt.Errorf("store: configure the engine: %w", err)
	}
	s.server.SetLoggerV2(engineLog{log}, false, false, false)
	s.server.Start()
	if !s.server.ReadyForConnections(startTimeout) {
		return errors.New("store: the engine did not start; see the log for its reason")
	}
	s.conn, err = nats.Connect("", nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return fmt.Errorf("store: connect to the engine: %w", err)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return fmt.Errorf("store: connect to the engine: %w", err)
	}
	return nil
}

// prepare opens or makes bucket and streams. An existing store must have all of them: to make one anew would hide a loss.
func (s *JetStream) prepare(ctx context.Context, sealed *sentinel) error {
	var err error
	if err := s.keys.open(s.dir, sealed != nil && sealed.has(shredKeysWord)); err != nil {
		return err
	}
	if sealed != nil {
		if s.kv, err = s.js.KeyValue(ctx, bucket); err != nil {
			return s.lost("its key-value bucket cannot be read")
		}
		return s.checkSentinel(ctx, sealed)
	}
	s.kv, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucket, History: 1, Storage: jetstream.FileStorage, MaxValueSize: MaxValue, LimitMarkerTTL: markerTTL,
	})
	if err != nil {
		return fmt.Errorf("store: make the bucket: %w", err)
	}
	for _, name := range streams {
		if err := s.makeStream(ctx, name); err != nil {
			return err
		}
	}
	return s.writeSentinel(ctx)
}

func (s *JetStream) makeStream(ctx context.Context, name Stream) error {
	_, err := s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: string(name), Subjects: []string{string(name)}, Storage: jetstream.FileStorage, MaxMsgSize: MaxValue,
		DenyDelete: true, DenyPurge: true, AllowDirect: true,
	})
	if err != nil {
		return fmt.Errorf("store: make stream %s: %w", name, err)
	}
	return nil
}

// Close stops the engine and waits for it.
func (s *JetStream) Close() error {
	s.mu.Lock()
	err := s.marks.write(s.dir)
	s.mu.Unlock()
	s.shutDown()
	return err
}

func (s *JetStream) stopEngine() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	s.conn, s.server = nil, nil
}

func (s *JetStream) shutDown() {
	s.stopEngine()
	s.keys.close()
	s.lock.Close() // lets go of the lock
}

// Get implements Store.
func (s *JetStream) Get(ctx context.Context, key Key) (Entry, error) {
	if err := key.check(); err != nil {
		return Entry{}, err
	}
	e, err := s.kv.Get(ctx, string(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Entry{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, fmt.Errorf("store: get: %w", err)
	}
	return Entry{Key: key, Value: e.Value(), Revision: Revision(e.Revision()), Written: e.Created()}, nil
}

// Create implements Store.
func (s *JetStream) Create(ctx context.Context, key Key, value []byte) (Revision, error) {
	return s.write(key, value, func() (uint64, error) { return s.kv.Create(ctx, string(key), value) })
}

// Put implements Store.
func (s *JetStream) Put(ctx context.Context, key Key, value []byte) (Revision, error) {
	return s.write(key, value, func() (uint64, error) { return s.kv.Put(ctx, string(key), value) })
}

// CompareAndPut implements Store.
func (s *JetStream) CompareAndPut(ctx context.Context, key Key, value []byte, revision Revision) (Revision, error) {
	return s.write(key, value, func() (uint64, error) { return s.kv.Update(ctx, string(key), value, uint64(revision)) })
}

func (s *JetStream) write(key Key, value []byte, do func() (uint64, error)) (Revision, error) {
	if err := key.check(); err != nil {
		return 0, err
	}
	if len(value) > MaxValue {
		return 0, fmt.Errorf("store: a value of %d bytes, at most %d", len(value), MaxValue)
	}
	revision, err := do()
	if wrongRevision(err) {
		return 0, ErrConflict
	}
	if err != nil {
		return 0, fmt.Errorf("store: write: %w", err)
	}
	return Revision(revision), nil
}

func wrongRevision(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// Delete implements Store.
func (s *JetStream) Delete(ctx context.Context, key Key) error {
	if err := key.check(); err != nil {
		return err
	}
	if err := s.kv.Purge(ctx, string(key), jetstream.PurgeTTL(markerTTL)); err != nil {
		return fmt.Errorf("store: delete: %w", err)
	}
	return nil
}

// List implements Store.
func (s *JetStream) List(ctx context.Context, prefix Key) ([]Entry, error) {
	if err := prefix.check(); err != nil {
		return nil, err
	}
	w, err := s.kv.Watch(ctx, string(prefix)+".>", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("store: list: %w", err)
	}
	defer w.Stop()
	var entries []Entry
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil, errors.New("store: list: the engine stopped")
			}
			if e == nil { // all that was there has come
				return entries, nil
			}
			entries = append(entries, Entry{Key: Key(e.Key()), Value: e.Value(), Revision: Revision(e.Revision()), Written: e.Created()})
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// engineLog hands the engine's warnings and errors to our log: they name streams and files, never values.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Noticef(string, ...any) {}
func (l engineLog) Debugf(string, ...any)  {}
func (l engineLog) Tracef(string, ...any)  {}
func (l engineLog) Warnf(format string, args ...any) {
	l.log.Warn("store engine", "text", fmt.Sprintf(format, args...))
}
func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("store engine", "text", fmt.Sprintf(format, args...))
}
func (l engineLog) Fatalf(format string, args ...any) {
	l.log.Error("store engine", "text", fmt.Sprintf(format, args...))
}
