package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"

	"conclave/identity"
	"conclave/server"
	"conclave/sfu"
	"conclave/sfu/slot"
	"conclave/store"
	"conclave/web"
)

const (
	// maxSockets bounds open TCP connections, those of signalling (limits.connections) among them.
	maxSockets = 8192
	// goodbye is how long requests in flight have when the server is told to stop.
	goodbye = 3 * time.Second
)

// run is the whole program. It returns when ctx is done and everything is closed.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	c, err := readConfig(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	secure, err := c.secure()
	if err != nil {
		return err
	}
	organisation, err := identity.LoadOrganisation(filepath.Join(c.Data, "organisation"), time.Now())
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.Data, "organisation", identity.RootFile)); err == nil {
		log.Warn("the root key lies beside the server: move it to a medium that is kept under lock", "file", identity.RootFile)
	}
	st, err := store.Open(ctx, filepath.Join(c.Data, "store"), log)
	if err != nil {
		return err
	}
	defer st.Close()
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	s, err := newServer(ctx, c, secure, listener, organisation, st, log)
	if err != nil {
		return err
	}
	return serve(ctx, c, s, listener, log)
}

// newServer puts the parts together. listener says which port was taken.
func newServer(ctx context.Context, c *config, secure bool, listener net.Listener, o *identity.Organisation, st store.Store, log *slog.Logger) (*server.Server, error) {
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, err
	}
	cfg := server.Config{Organisation: o, Store: st, Secure: secure, Log: log,
		Meetings: identity.Lengths{Usual: c.Meetings.Usual, Longest: c.Meetings.Longest},
		Slots:    slot.Plan{Audio: c.Slots.Audio, Camera: c.Slots.Camera, Screen: c.Slots.Screen},
		Limits: server.Limits{Connections: c.Limits.Connections, PerAddress: c.Limits.PerAddress, Rate: c.Limits.Rate,
			Burst: c.Limits.Burst, Requests: c.Limits.Requests}}
	if cfg.Hosts, err = c.hosts(port); err != nil {
		return nil, err
	}
	if cfg.Records, err = c.records(); err != nil {
		return nil, err
	}
	if cfg.Proxies, err = c.proxies(); err != nil {
		return nil, err
	}
	if cfg.Enrolment, err = c.Enrolment.rules(); err != nil {
		return nil, err
	}
	if cfg.OIDC, err = c.OIDC.settings(); err != nil {
		return nil, err
	}
	ground, err := c.ground()
	if err != nil {
		return nil, err
	}
	cfg.Policy, cfg.Networks, cfg.Places, cfg.Reload = ground.Policy, ground.Networks, ground.Places, c.ground
	var built bool
	if cfg.Client, built = web.Client(); !built {
		cfg.Client = nil
		log.Warn("this program was built without the web client: only headless endpoints can join")
	}
	media := sfu.Config{}
	if media.Listen, err = netip.ParseAddrPort(c.Media); err != nil {
		return nil, fmt.Errorf("media: %q is no address with a port, such as 0.0.0.0:7000", c.Media)
	}
	if media.Addresses, err = c.mediaAddresses(); err != nil {
		return nil, err
	}
	if cfg.Media, err = sfu.New(media, log); err != nil {
		return nil, err
	}
	s, err := server.New(ctx, cfg)
	if err != nil {
		cfg.Media.Close()
		return nil, err
	}
	log.Info("serving", "organisation", o, "listen", listener.Addr().String(), "tls", c.TLS.Certificate != "", "hosts", cfg.Hosts,
		"media", fmt.Sprint(cfg.Media.Candidates()))
	return s, nil
}

// serve runs HTTP, the administrator's socket and the server itself until ctx is done or one of them fails.
func serve(ctx context.Context, c *config, s *server.Server, listener net.Listener, log *slog.Logger) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	admin, err := listenAdmin(c.Data)
	if err != nil {
		stop(err)
	}
	// net/http logs each client that hangs up or speaks no TLS, with its address: that is not for a log of ours.
	errorLog := slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)
	public := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: errorLog, ConnContext: s.ConnContext}
	private := &http.Server{Handler: s.AdminHandler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: errorLog}
	ended := make(chan struct{}, 3)
	end := func(what string, err error) {
		if err != nil && !errors.Is(err, http.ErrServerClosed) {
			stop(fmt.Errorf("%s: %w", what, err))
		}
		ended <- struct{}{}
	}
	go func() {
		listener := s.Listener(netutil.LimitListener(listener, maxSockets))
		if c.TLS.Certificate == "" {
			end("listen", public.Serve(listener))
			return
		}
		// TLS 1.3 alone; Go offers X25519MLKEM768 first.
		public.TLSConfig = s.TLS(&tls.Config{MinVersion: tls.VersionTLS13})
		end("listen", public.ServeTLS(listener, c.TLS.Certificate, c.TLS.Key))
	}()
	go func() {
		if admin == nil {
			end("admin", nil)
			return
		}
		end("administrator's socket", private.Serve(admin))
	}()
	running, endRun := context.WithCancel(context.Background())
	defer endRun()
	go func() {
		err := s.Run(running)
		if ctx.Err() == nil {
			err = errors.Join(err, errors.New("media ended"))
		}
		end("server", err)
	}()
	reloads, endReloads := context.WithCancel(ctx)
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		c.reload(reloads, s, log)
	}()
	<-ctx.Done()
	endReloads()
	<-reloaded
	log.Info("ending")
	// Connections end first, so that nobody is told that others have left.
	endRun()
	bye, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	public.Shutdown(bye)
	private.Shutdown(bye)
	for range 3 {
		<-ended
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// adminSocket is reachable for the owner of the data folder alone.
const adminSocket = "admin.sock"

func listenAdmin(data string) (net.Listener, error) {
	path := filepath.Join(data, adminSocket)
	// The store's lock says that no other server uses this folder, so a socket that is there is a dead one's.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := os.Chmod(data, 0o700); err != nil { // before the socket has its own mode
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("administrator's socket: %w (its path may have at most 107 bytes)", err)
	}
	return l, os.Chmod(path, 0o600)
}
