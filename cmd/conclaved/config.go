package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/BurntSushi/toml"

	"conclave/admission"
	"conclave/line"
	"conclave/server"
	"conclave/sfu/slot"
)

// config is the configuration file (TOML; unknown keys are errors). Flags of the same meaning come before it.
type config struct {
	read atomic.Pointer[string] // what the files of ground looked like when they were read last (look.state)

	// Data is the folder of store, organisation and administrator's socket.
	Data string `toml:"data"`
	// Listen is the TCP address of the page and of signalling.
	Listen string `toml:"listen"`
	// Media is the UDP address of sound and picture; MediaAddresses are announced to clients instead of the machine's own.
	Media          string   `toml:"media"`
	MediaAddresses []string `toml:"media_addresses"`
	// PublicHosts are the names under which clients know this server, with the port unless it is 443 or 80.
	PublicHosts []string `toml:"public_hosts"`
	// TrustedProxies are the addresses or networks whose X-Forwarded-For is believed; TLS is theirs then.
	TrustedProxies []string `toml:"trusted_proxies"`
	// InsecureHTTP allows plain HTTP beyond this machine: behind a proxy, or for a test.
	InsecureHTTP bool `toml:"insecure_http"`
	// Policy is a file in Cedar; empty: the one that Conclave comes with.
	Policy string `toml:"policy"`
	// Watch has policy, networks and calendar read anew when their files change; without it, conclave policy reload or
	// SIGHUP does.
	Watch bool `toml:"watch"`
	// Places are files that say what is known of addresses.
	Places struct {
		Databases []string `toml:"databases"` // MaxMind DB format: countries, operators, anonymisers
		List      string   `toml:"list"`      // networks and their kinds, approved ones among them
		Calendar  string   `toml:"calendar"`  // where the risk is raised, and when
		Home      []string `toml:"home"`      // countries in which nobody is on a trip
	} `toml:"places"`

	TLS struct {
		Certificate string `toml:"certificate"`
		Key         string `toml:"key"`
	} `toml:"tls"`
	Enrolment enrolmentConfig `toml:"enrolment"`
	OIDC      oidcConfig      `toml:"oidc"`
	// Networks are approved networks or tunnels: lines from them are guarded.
	Networks []struct {
		Name   string `toml:"name"`
		Prefix string `toml:"prefix"`
	} `toml:"network"`
	// Levels are the organisation's classifications, the lowest first; none: OPEN, INTERNAL, RESTRICTED, CONFIDENTIAL.
	Levels []struct {
		Name     string            `toml:"name"`
		Words    map[string]string `toml:"words"`
		Start    admission.Start   `toml:"start"`    // "anyone" or "chair"
		Cosigned bool              `toml:"cosigned"` // opens only with a witness's word
		Banner   struct {
			Colour admission.Colour  `toml:"colour"` // of the palette, or #rrggbb that white text can be read on
			Words  map[string]string `toml:"words"`
		} `toml:"banner"`
	} `toml:"level"`
	// Meetings bounds how long meetings last: Usual is for those that are opened without an end.
	Meetings struct {
		Usual   time.Duration `toml:"usual"`
		Longest time.Duration `toml:"longest"`
	} `toml:"meetings"`
	// Slots are how many speakers, cameras and shared screens everybody receives at once.
	Slots struct {
		Audio  int `toml:"audio"`
		Camera int `toml:"camera"`
		Screen int `toml:"screen"`
	} `toml:"slots"`
	// Witnesses sign the audit log too (conclave witness); Cosignatures of them are enough, 0: all must.
	Witnesses []struct {
		URL string `toml:"url"`
		Key string `toml:"key"` // name+01234567+base64, as the witness prints it
	} `toml:"witness"`
	Cosignatures int `toml:"cosignatures"`
	Limits       struct {
		Connections int     `toml:"connections"`
		PerAddress  int     `toml:"per_address"`
		Rate        float64 `toml:"rate"`
		Burst       float64 `toml:"burst"`
		Requests    float64 `toml:"requests"`
	} `toml:"limits"`
}

// configFile is read from the data folder if no other is named.
const configFile = "conclaved.toml"

func defaults() *config {
	c := &config{Data: "data", Listen: "127.0.0.1:8080", Media: "0.0.0.0:7000"}
	c.Slots.Audio, c.Slots.Camera, c.Slots.Screen = slot.Default.Audio, slot.Default.Camera, slot.Default.Screen
	l := server.DefaultLimits()
	c.Limits.Connections, c.Limits.PerAddress, c.Limits.Rate, c.Limits.Burst, c.Limits.Requests = l.Connections, l.PerAddress, l.Rate, l.Burst, l.Requests
	return c
}

// errUsage says that the command line is wrong: exit code 2.
var errUsage = errors.New("wrong usage")

// readConfig reads flags and file.
func readConfig(args []string, stderr io.Writer) (*config, error) {
	flags := flag.NewFlagSet("conclaved", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var file, data, listen, media string
	var hosts list
	var insecure bool
	flags.StringVar(&file, "config", "", "configuration `file` (default: "+configFile+" in the data folder, if it is there)")
	flags.StringVar(&data, "data", "", "data `folder` (default: data)")
	flags.StringVar(&listen, "listen", "", "TCP `address` of page and signalling (default: 127.0.0.1:8080)")
	flags.StringVar(&media, "media", "", "UDP `address` of sound and picture (default: 0.0.0.0:7000)")
	flags.Var(&hosts, "public-host", "`host[:port]` under which clients know this server; may be repeated")
	flags.BoolVar(&insecure, "insecure-http", false, "allow plain HTTP beyond this machine")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		flags.Usage()
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %v; conclaved --help lists what there is", errUsage, err)
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%w: unknown argument %q; conclaved --help lists what there is", errUsage, flags.Arg(0))
	}
	c := defaults()
	if data != "" {
		c.Data = data
	}
	if file == "" {
		if _, err := os.Stat(filepath.Join(c.Data, configFile)); err == nil {
			file = filepath.Join(c.Data, configFile)
		}
	}
	if file != "" {
		meta, err := toml.DecodeFile(file, c)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if unknown := meta.Undecoded(); len(unknown) > 0 {
			return nil, fmt.Errorf("read %s: there is no setting %s", file, unknown[0])
		}
	}
	for _, o := range []struct{ flag, setting *string }{{&data, &c.Data}, {&listen, &c.Listen}, {&media, &c.Media}} {
		if *o.flag != "" {
			*o.setting = *o.flag
		}
	}
	if len(hosts) > 0 {
		c.PublicHosts = hosts
	}
	c.InsecureHTTP = c.InsecureHTTP || insecure
	return c, nil
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// hosts returns the names under which clients know the server that listens at port.
func (c *config) hosts(port string) ([]string, error) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	local := []string{"localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}
	address, err := netip.ParseAddr(host)
	switch {
	case host == "localhost", err == nil && address.IsLoopback():
		return append(local, c.PublicHosts...), nil
	case len(c.PublicHosts) > 0:
		return c.PublicHosts, nil
	case err == nil && !address.IsUnspecified():
		return []string{net.JoinHostPort(host, port)}, nil
	}
	return nil, errors.New("under which name do clients know this server? Say so with --public-host or public_hosts: what devices sign holds for that name alone")
}

// secure says whether clients come over TLS, and refuses plain HTTP where it would leave this machine.
func (c *config) secure() (bool, error) {
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		return false, errors.New("tls: certificate and key belong together")
	}
	if c.TLS.Certificate != "" {
		return true, nil
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false, fmt.Errorf("listen: %w", err)
	}
	address, err := netip.ParseAddr(host)
	if local := host == "localhost" || err == nil && address.IsLoopback(); !local && !c.InsecureHTTP {
		return false, errors.New("plain HTTP stays on this machine: give a certificate and key under [tls], or, behind a proxy that speaks TLS, --insecure-http")
	}
	return len(c.TrustedProxies) > 0, nil
}

func (c *config) networks() (line.Networks, error) {
	var out line.Networks
	for _, n := range c.Networks {
		p, err := netip.ParsePrefix(n.Prefix)
		if err != nil || n.Name == "" || len(n.Name) > 64 {
			return nil, fmt.Errorf("network %q: needs a name and a prefix such as 10.1.0.0/16", n.Name)
		}
		out = append(out, line.Network{Name: n.Name, Prefix: p.Masked()})
	}
	return out, nil
}

func (c *config) proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range c.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("trusted_proxies: %q is no address and no network", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (c *config) policy() (*admission.Policy, error) {
	source, levels := admission.DefaultPolicy(), admission.DefaultLevels()
	if len(c.Levels) > 0 {
		levels = nil
		for _, l := range c.Levels {
			levels = append(levels, admission.LevelWords{Name: l.Name, Words: l.Words, Start: l.Start, Cosigned: l.Cosigned,
				Banner: admission.Banner{Colour: l.Banner.Colour, Words: l.Banner.Words}})
		}
	}
	if err := levels.Check(); err != nil {
		return nil, err
	}
	if c.Policy != "" {
		var err error
		if source, err = os.ReadFile(c.Policy); err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
	}
	p, err := admission.Load(source, levels)
	switch {
	case err != nil && c.Policy != "":
		return nil, fmt.Errorf("%s: %w", c.Policy, err)
	case err != nil && len(c.Levels) > 0:
		return nil, fmt.Errorf("%w: the policy that Conclave comes with speaks of its own levels; give one for yours with policy = \"file\" (docs/policy.md)", err)
	}
	return p, err
}

func (c *config) mediaAddresses() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range c.MediaAddresses {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("media_addresses: %q is no address", s)
		}
		out = append(out, a)
	}
	return out, nil
}
