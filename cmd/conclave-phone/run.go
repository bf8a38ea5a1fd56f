package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"conclave/gateway"
)

// run reads the flags and runs the gateway until ctx ends.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("conclave-phone", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var file, link, key, ca string
	var verbose bool
	flags.StringVar(&file, "config", "", "configuration `file`")
	flags.StringVar(&link, "enrol", "", "enrol this gateway with a `link` of conclave phone gateway; needs --key")
	flags.StringVar(&key, "key", "", "with --enrol: where the key `file` is written")
	flags.StringVar(&ca, "server-ca", "", "with --enrol: `file` with the authorities of the server's certificate")
	flags.BoolVar(&verbose, "verbose", false, "log each state of each call")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q; conclave-phone -h lists what there is", flags.Arg(0))
	case link != "":
		return enrol(ctx, link, key, ca, stdout)
	case file == "":
		return errors.New("--config is missing")
	}
	c, err := readConfig(file)
	if err != nil {
		return err
	}
	g, err := c.gateway()
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	g.Log = slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	phone, err := gateway.New(g)
	if err != nil {
		return err
	}
	return serve(ctx, phone, c.Status, g.Log)
}

func enrol(ctx context.Context, link, key, ca string, stdout io.Writer) error {
	if key == "" {
		return errors.New("--enrol needs --key: where the key file is written")
	}
	config, err := tlsConfig(ca)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	k, err := gateway.Enrol(limited, link, config, time.Now())
	if err != nil {
		return err
	}
	if err := k.Save(key); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "enrolled with %s; the key is in %s\n", k.Organisation, key)
	return nil
}

// serve runs the gateway with its health and metrics.
func serve(ctx context.Context, g *gateway.Gateway, status string, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	defer wait.Wait()
	if status != "" {
		l, err := net.Listen("tcp", status)
		if err != nil {
			return err
		}
		web := &http.Server{Handler: statusHandler(g), ReadHeaderTimeout: 5 * time.Second}
		wait.Go(func() {
			if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				log.Error("status ended", "cause", err)
			}
		})
		defer web.Close()
	}
	drain := make(chan os.Signal, 1)
	signal.Notify(drain, syscall.SIGUSR1)
	defer signal.Stop(drain)
	wait.Go(func() {
		select {
		case <-drain:
			g.Drain()
			log.Info("draining: no new calls are taken, those that live go on", "calls", g.Stats().Legs)
		case <-ctx.Done():
		}
	})
	wait.Go(func() {
		select {
		case <-g.Ready():
			for _, a := range g.Stack().Addresses() {
				log.Info("listening", "network", a.Network(), "port", a.String())
			}
		case <-ctx.Done():
		}
	})
	err := g.Run(ctx)
	cancel()
	return err
}

// statusHandler answers /health (200 while the server knows us and calls are taken, else 503) and /metrics, in the text format that Prometheus
// reads (version 0.0.4), which needs no library.
func statusHandler(g *gateway.Gateway) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, metrics(g.Stats()))
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case g.Draining():
			http.Error(w, fmt.Sprintf("draining: %d calls go on", g.Stats().Legs), http.StatusServiceUnavailable)
			return
		case !g.Connected():
			http.Error(w, "the server does not know this gateway now", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

func number(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func metrics(s gateway.Stats) string {
	var b strings.Builder
	for _, m := range []struct {
		name, kind, help string
		value            uint64
	}{
		{"connected", "gauge", "1 while the conference server knows this gateway.", number(s.Connected)},
		{"draining", "gauge", "1 while no new calls are taken.", number(s.Draining)},
		{"calls", "gauge", "Calls now.", uint64(s.Legs)},
		{"legs", "gauge", "Calls that are in a meeting now.", uint64(s.In)},
		{"calls_came_total", "counter", "Calls that came.", s.Came},
		{"calls_refused_total", "counter", "Calls that were refused.", s.Refused},
		{"legs_total", "counter", "Calls that asked for a meeting with a right code and consent.", s.Entered},
		{"rings_total", "counter", "Call-backs.", s.Rings},
		{"codes_wrong_total", "counter", "Wrong codes.", s.WrongCodes},
		{"sip_requests_total", "counter", "SIP requests of trunks.", s.SIP.Requests},
		{"sip_strangers_total", "counter", "Datagrams and connections from no trunk.", s.SIP.Strange},
		{"sip_panics_total", "counter", "Handlers that did not survive a request.", s.SIP.Panics},
		{"media_forged", "gauge", "Packets of living calls that were not authentic.", s.Forged},
		{"media_foreign", "gauge", "Packets of living calls from elsewhere.", s.Strays},
		{"media_lost", "gauge", "Packets of living calls that never came.", s.Lost},
	} {
		fmt.Fprintf(&b, "# HELP conclave_phone_%s %s\n# TYPE conclave_phone_%s %s\nconclave_phone_%s %d\n", m.name, m.help, m.name, m.kind, m.name, m.value)
	}
	return b.String()
}
