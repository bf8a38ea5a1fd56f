package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"conclave/network"
	"conclave/server"
)

// ground reads all that rulings rest on and that may change while the server runs. An error names file and line.
func (c *config) ground() (server.Ground, error) {
	var g server.Ground
	var err error
	look, _ := lookAt(c.files()) // before they are read: what changes meanwhile is read again
	c.read.Store(&look.state)
	if g.Policy, err = c.policy(); err != nil {
		return g, err
	}
	if g.Places, err = c.places(); err != nil {
		return g, err
	}
	configured, err := c.networks()
	g.Networks = g.Places.Approved(configured)
	return g, err
}

func (c *config) places() (*network.Ground, error) {
	p := new(network.Ground)
	for _, path := range c.Places.Databases {
		d, err := network.OpenDatabase(path)
		if err != nil {
			return nil, err
		}
		p.Databases = append(p.Databases, d)
	}
	if path := c.Places.List; path != "" {
		source, err := readFile(path, network.MaxList)
		if err == nil {
			p.Listed, err = network.ParseList(source)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if path := c.Places.Calendar; path != "" {
		source, err := readFile(path, network.MaxCalendar)
		if err == nil {
			p.Calendar, err = network.ParseCalendar(source)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, text := range c.Places.Home {
		country, ok := network.ParseCountry(text)
		if !ok {
			return nil, fmt.Errorf("places: home: %q is no country's code of two letters", text)
		}
		p.Home = append(p.Home, country)
	}
	return p, nil
}

// readFile reads so much of a file that its parser sees that it is too long.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// files are those that ground reads.
func (c *config) files() []string {
	var out []string
	for _, path := range append([]string{c.Policy, c.Places.List, c.Places.Calendar}, c.Places.Databases...) {
		if path != "" {
			out = append(out, path)
		}
	}
	return out
}

const (
	// watchEvery is how often files are looked at, and so at most how long a change takes to be seen.
	watchEvery = time.Second
	// settled is how old a change has to be: a file that is being written is left alone.
	settled = 500 * time.Millisecond
)

// reload has the server read its files anew on SIGHUP and, if it shall watch them, when they change, until ctx is done.
func (c *config) reload(ctx context.Context, s *server.Server, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var tick <-chan time.Time
	if c.Watch {
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		case now := <-tick:
			look, ok := lookAt(c.files())
			if !ok || look.state == *c.read.Load() || now.Sub(look.newest) < settled {
				continue
			}
		}
		changed, err := s.Reload(ctx)
		if err != nil {
			log.Error("files not taken: what was in force stays in force", "cause", err)
			continue
		}
		log.Info("files read anew", "policy_changed", changed)
	}
}

// look is what files look like from outside.
type look struct {
	state  string    // of all: another one, if any has changed
	newest time.Time // when the last one did
}

// lookAt is not ok if one of the files cannot be looked at.
func lookAt(paths []string) (l look, ok bool) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return l, false
		}
		l.state += fmt.Sprintf("%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		if info.ModTime().After(l.newest) {
			l.newest = info.ModTime()
		}
	}
	return l, true
}
