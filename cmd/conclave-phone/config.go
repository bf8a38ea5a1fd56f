package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"conclave/gateway"
	"conclave/phone/codec"
	"conclave/phone/media"
	"conclave/phone/prompt"
	"conclave/phone/sip"
)

// config is the configuration file (TOML; unknown keys are errors).
type config struct {
	// Server is the conference server, as in links: https://meet.example.org.
	Server string `toml:"server"`
	// ServerCA is a file with the authorities of its certificate (PEM); empty: the system's.
	ServerCA string `toml:"server_ca"`
	// Key is the gateway's key file.
	Key string `toml:"key"`
	// Status is the TCP address of health and metrics, for this machine's own monitoring; empty: none.
	Status string `toml:"status"`
	// Language is spoken where nobody has chosen, and in the room: "de", "en", "fr".
	Language string `toml:"language"`
	// Numbers are called numbers that stand for a language: {"4930123451" = "de"}.
	Numbers map[string]string `toml:"numbers"`
	// Prompts is a folder with recordings in place of the built-in ones.
	Prompts string `toml:"prompts"`
	// Names is a folder with recordings of people's names, PERSON.wav; the room hears them. Empty: there are none.
	Names string `toml:"names"`
	// EarlyMedia has refusals spoken before a call is answered; false for trunks that cannot.
	EarlyMedia bool `toml:"early_media"`
	// Limit is how long a leg may be in a meeting, Reminder the time between two tones in it.
	Limit    duration `toml:"limit"`
	Reminder duration `toml:"reminder"`
	// Calls is how many there may be at once: as many as this machine carries without a stutter. The next caller is told that all lines are in use.
	Calls int `toml:"calls"`
	// Rings is how many calls it makes in a day on the server's wish.
	Rings int `toml:"rings"`

	Media struct {
		// Address is bound to; External stands in descriptions instead, behind a NAT.
		Address  string   `toml:"address"`
		External string   `toml:"external"`
		First    uint16   `toml:"first_port"`
		Last     uint16   `toml:"last_port"`
		Codecs   []string `toml:"codecs"`
	} `toml:"media"`

	Listen []struct {
		Transport   string `toml:"transport"` // "udp", "tcp", "tls"
		Address     string `toml:"address"`
		External    string `toml:"external"`
		Certificate string `toml:"certificate"`
		Key         string `toml:"key"`
	} `toml:"listen"`

	Trunk []struct {
		Name         string   `toml:"name"`
		Networks     []string `toml:"networks"`
		Certificates []string `toml:"certificates"` // SHA-256 of client certificates, in hexadecimal
		User         string   `toml:"user"`
		PasswordFile string   `toml:"password_file"`
		Realm        string   `toml:"realm"`
		SHA256       bool     `toml:"sha256"`
		Target       string   `toml:"target"`
		Transport    string   `toml:"transport"`
		Domain       string   `toml:"domain"`
		Register     bool     `toml:"register"`
		Calls        int      `toml:"calls"` // of it at once; 0: as many as there may be in all
		Ring         []string `toml:"ring"`  // beginnings of numbers, and hosts of addresses, that may be rung
	} `toml:"trunk"`
	// TrunkCA is a file with the authorities of the certificates of trunks that we dial.
	TrunkCA string `toml:"trunk_ca"`
}

// duration is a time as Go writes it: "90m".
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(b []byte) error {
	parsed, err := time.ParseDuration(string(b))
	if err == nil && (parsed < 10*time.Second || parsed > 24*time.Hour) {
		err = errors.New("between 10s and 24h")
	}
	*d = duration(parsed)
	return err
}

// readConfig reads and checks a configuration file.
func readConfig(path string) (*config, error) {
	c := &config{Language: "en", EarlyMedia: true, Calls: sip.DefaultLimits().Calls}
	meta, err := toml.DecodeFile(path, c)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("read %s: there is no setting %s", path, unknown[0])
	}
	switch {
	case c.Server == "":
		return nil, fmt.Errorf("read %s: server is missing", path)
	case c.Key == "":
		return nil, fmt.Errorf("read %s: key is missing: make one with conclave-phone --enrol", path)
	case len(c.Listen) == 0:
		return nil, fmt.Errorf("read %s: [[listen]] is missing", path)
	case len(c.Trunk) == 0:
		return nil, fmt.Errorf("read %s: [[trunk]] is missing", path)
	case c.Calls < 1 || c.Calls > 500:
		return nil, fmt.Errorf("read %s: calls: 1 to 500", path)
	case c.Rings < 0:
		return nil, fmt.Errorf("read %s: rings: 1 or more a day, or none for 200", path)
	}
	return c, nil
}

// gateway turns the file into what a gateway needs.
func (c *config) gateway() (gateway.Config, error) {
	g := gateway.Config{Server: c.Server, KeyFile: c.Key, EarlyMedia: c.EarlyMedia, TimeLimit: time.Duration(c.Limit), Reminder: time.Duration(c.Reminder),
		Ports: media.Ports{First: c.Media.First, Last: c.Media.Last}, Called: map[string]prompt.Language{}}
	var err error
	if g.Key, err = gateway.LoadKey(c.Key); err != nil {
		return g, err
	}
	if g.TLS, err = tlsConfig(c.ServerCA); err != nil {
		return g, err
	}
	if g.Language, err = language(c.Language); err != nil {
		return g, err
	}
	for number, l := range c.Numbers {
		if g.Called[number], err = language(l); err != nil {
			return g, err
		}
	}
	if c.Prompts == "" {
		g.Prompts, err = prompt.BuiltIn()
	} else {
		g.Prompts, err = prompt.Load(os.DirFS(c.Prompts))
	}
	if err != nil {
		return g, err
	}
	if c.Names != "" {
		if g.Names, err = prompt.LoadPeople(os.DirFS(c.Names)); err != nil {
			return g, err
		}
	}
	if g.Media, err = netip.ParseAddr(c.Media.Address); err != nil {
		return g, fmt.Errorf("media.address: %w", err)
	}
	if c.Media.External != "" {
		if g.External, err = netip.ParseAddr(c.Media.External); err != nil {
			return g, fmt.Errorf("media.external: %w", err)
		}
	} else if g.Media.IsUnspecified() {
		return g, errors.New("media.external: which address shall callers send to?")
	}
	for _, name := range c.Media.Codecs {
		found := false
		for _, k := range codec.Preferred {
			if strings.EqualFold(name, k.Name()) {
				g.Codecs, found = append(g.Codecs, k), true
			}
		}
		if !found {
			return g, fmt.Errorf("media.codecs: there is no %q", name)
		}
	}
	g.Limits = sip.DefaultLimits()
	g.Calls, g.Rings = c.Calls, c.Rings
	if err := c.listeners(&g); err != nil {
		return g, err
	}
	return g, c.trunks(&g)
}

func (c *config) listeners(g *gateway.Config) error {
	for i, l := range c.Listen {
		address, err := netip.ParseAddrPort(l.Address)
		if err != nil {
			return fmt.Errorf("listen %d: %w", i+1, err)
		}
		one := sip.Listener{Network: sip.Network(l.Transport), Address: address, External: l.External}
		if one.Network == sip.TLS {
			pair, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
			if err != nil {
				return fmt.Errorf("listen %d: %w", i+1, err)
			}
			one.Certificate = &pair
		}
		if address.Addr().IsUnspecified() && l.External == "" {
			return fmt.Errorf("listen %d: external: under which address do trunks know us?", i+1)
		}
		g.Listeners = append(g.Listeners, one)
	}
	return nil
}

func (c *config) trunks(g *gateway.Config) error {
	for _, t := range c.Trunk {
		if t.Calls < 0 {
			return fmt.Errorf("trunk %s: calls: 1 or more, or none for as many as there may be in all", t.Name)
		}
		one := sip.Trunk{Name: t.Name, User: t.User, Realm: t.Realm, SHA256: t.SHA256, Target: t.Target, TargetNetwork: sip.Network(t.Transport),
			Domain: t.Domain, Register: t.Register, Calls: t.Calls, Prefixes: t.Ring}
		for _, text := range t.Networks {
			p, err := netip.ParsePrefix(text)
			if a, aerr := netip.ParseAddr(text); err != nil && aerr == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err != nil {
				return fmt.Errorf("trunk %s: networks: %w", t.Name, err)
			}
			one.Networks = append(one.Networks, p)
		}
		for _, text := range t.Certificates {
			b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
			if err != nil || len(b) != sha256.Size {
				return fmt.Errorf("trunk %s: certificates: the SHA-256 of each, in hexadecimal", t.Name)
			}
			one.Certificates = append(one.Certificates, [sha256.Size]byte(b))
		}
		if t.PasswordFile != "" {
			b, err := os.ReadFile(t.PasswordFile)
			if err != nil {
				return fmt.Errorf("trunk %s: %w", t.Name, err)
			}
			one.Password = strings.TrimSpace(string(b))
		}
		g.Trunks = append(g.Trunks, one)
	}
	if c.TrunkCA != "" {
		roots, err := pool(c.TrunkCA)
		if err != nil {
			return err
		}
		g.TrunkRoots = roots
	}
	return nil
}

func language(s string) (prompt.Language, error) {
	for _, l := range prompt.Languages {
		if string(l) == s {
			return l, nil
		}
	}
	return "", fmt.Errorf("language: de, en or fr, not %q", s)
}

func tlsConfig(ca string) (*tls.Config, error) {
	if ca == "" {
		return nil, nil
	}
	roots, err := pool(ca)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, err
}

func pool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return p, nil
}
