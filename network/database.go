package network

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// maxDatabase bounds a database's file, in bytes. The largest that are sold have 400 MB.
const maxDatabase = 512 << 20

// sampled: of so many records one is decoded when a file is read. All of them would take seconds, and what cannot be read
// later says nothing.
const sampled = 64

// Database is one file in the MaxMind DB format: of countries, of operators (AS numbers), or of anonymising networks. It is
// held in memory, so that a file that is written over does not change under a lookup.
type Database struct {
	reader *maxminddb.Reader
	sum    [sha256.Size]byte // of the file
}

// OpenDatabase reads a database and checks it all: one that is cut short, or of another format, is an error.
func OpenDatabase(path string) (*Database, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDatabase+1))
	if err != nil {
		return nil, fmt.Errorf("network: read %s: %w", path, err)
	}
	if len(b) > maxDatabase {
		return nil, fmt.Errorf("network: %s: over %d bytes", path, maxDatabase)
	}
	d, err := newDatabase(b)
	if err != nil {
		return nil, fmt.Errorf("network: %s: %v", path, err)
	}
	return d, nil
}

func newDatabase(b []byte) (*Database, error) {
	reader, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, err
	}
	if reader.Metadata.IPVersion != 4 && reader.Metadata.IPVersion != 6 {
		return nil, errors.New("holds no addresses")
	}
	// Reader.Verify is no help: it refuses files for an empty description. What matters is that all of the tree, and a sample of
	// the records, can be read.
	networks := 0
	for found := range reader.Networks() {
		var record any
		if err := found.Err(); err != nil {
			return nil, err
		}
		if networks%sampled == 0 {
			if err := found.Decode(&record); err != nil {
				return nil, err
			}
		}
		networks++
	}
	if networks == 0 {
		return nil, errors.New("holds no networks")
	}
	return &Database{reader, sha256.Sum256(b)}, nil
}

// place never fails: a record that cannot be read says nothing.
func (d *Database) place(a netip.Addr) Place {
	p := Place{Kind: KindUnknown}
	if a.Is6() && d.reader.Metadata.IPVersion == 4 {
		return p
	}
	found := d.reader.Lookup(a)
	if !found.Found() {
		return p
	}
	// The makers of databases call one thing by several names.
	for _, path := range [][]any{{"country", "iso_code"}, {"country_code"}, {"country"}, {"registered_country", "iso_code"}} {
		var code string
		if found.DecodePath(&code, path...) == nil && code != "" {
			if c, ok := ParseCountry(code); ok {
				p.Country = c
				break
			}
		}
	}
	p.AS = operator(found)
	p.Kind = anonymity(found)
	return p
}

func operator(found maxminddb.Result) AS {
	var n uint32
	if found.DecodePath(&n, "autonomous_system_number") == nil && n != 0 {
		return AS(n)
	}
	var text string
	if found.DecodePath(&text, "asn") == nil {
		if n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToUpper(text), "AS"), 10, 32); err == nil {
			return AS(n)
		}
	}
	return 0
}

// anonymity reads what databases of anonymising networks and of kinds of connections say.
func anonymity(found maxminddb.Result) Kind {
	for _, flag := range []struct {
		name string
		kind Kind
	}{
		{"is_tor_exit_node", KindTor}, {"is_anonymous_vpn", KindVPN}, {"is_public_proxy", KindVPN}, {"is_residential_proxy", KindVPN},
		{"is_anonymous", KindVPN}, {"is_hosting_provider", KindHosting}, {"is_satellite_provider", KindSatellite},
	} {
		var yes bool
		if found.DecodePath(&yes, flag.name) == nil && yes {
			return flag.kind
		}
	}
	var connection string
	if found.DecodePath(&connection, "connection_type") == nil {
		switch connection {
		case "Cellular":
			return KindMobile
		case "Satellite":
			return KindSatellite
		case "Cable/DSL", "Corporate", "Dialup":
			return KindISP
		}
	}
	return KindUnknown
}
