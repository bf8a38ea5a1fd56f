package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"conclave/identity"
	"conclave/identity/passkey"
	"conclave/server"
)

// enrolmentConfig says how people's devices are enrolled.
type enrolmentConfig struct {
	// Passkeys is "required", "preferred" (a software key does where a browser has no passkey; the default) or "off".
	Passkeys string `toml:"passkeys"`
	// Hardware refuses passkeys that are not proven to stay in their authenticator; it needs Metadata.
	Hardware bool `toml:"hardware"`
	// Metadata is a file with the authenticators whose makers are believed: FIDO's list, or one of the operator's own.
	Metadata string `toml:"metadata"`
	// Cards is a file with the root certificates (PEM) of smart cards and managed devices.
	Cards string `toml:"cards"`
}

// rules reads the files that the configuration names.
func (c *enrolmentConfig) rules() (identity.Rules, error) {
	r := identity.Rules{Passkeys: identity.Passkeys(c.Passkeys), Hardware: c.Hardware}
	switch r.Passkeys {
	case "", identity.PasskeysRequired, identity.PasskeysPreferred, identity.PasskeysOff:
	default:
		return r, fmt.Errorf("enrolment: passkeys is %q; it may be required, preferred or off", c.Passkeys)
	}
	if c.Hardware && c.Metadata == "" {
		return r, errors.New("enrolment: hardware needs metadata, by which hardware is known")
	}
	if c.Metadata != "" {
		var err error
		if r.Metadata, err = passkey.ReadMetadata(c.Metadata); err != nil {
			return r, fmt.Errorf("enrolment: %w", err)
		}
	}
	if c.Cards != "" {
		b, err := os.ReadFile(c.Cards)
		if err != nil {
			return r, fmt.Errorf("enrolment: %w", err)
		}
		if r.Cards = x509.NewCertPool(); !r.Cards.AppendCertsFromPEM(b) {
			return r, fmt.Errorf("enrolment: %s holds no certificate", c.Cards)
		}
	}
	return r, nil
}

// oidcConfig is the organisation's own sign-in.
type oidcConfig struct {
	Issuer   string `toml:"issuer"`
	ClientID string `toml:"client_id"`
	// SecretFile holds the client's secret; it must not be readable by others.
	SecretFile string `toml:"client_secret_file"`
	Claim      string `toml:"claim"`
	Domain     string `toml:"domain"`
}

func (c *oidcConfig) settings() (server.OIDC, error) {
	o := server.OIDC{Issuer: c.Issuer, ClientID: c.ClientID, Claim: c.Claim, Domain: c.Domain}
	if c.Issuer == "" {
		return server.OIDC{}, nil
	}
	if !strings.HasPrefix(c.Issuer, "https://") || c.ClientID == "" {
		return o, errors.New("oidc: it needs an issuer that begins with https:// and a client_id")
	}
	if c.SecretFile == "" {
		return o, nil
	}
	info, err := os.Stat(c.SecretFile)
	if err != nil {
		return o, fmt.Errorf("oidc: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return o, fmt.Errorf("oidc: %s can be read by others: chmod 600 it", c.SecretFile)
	}
	b, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return o, fmt.Errorf("oidc: %w", err)
	}
	o.ClientSecret = strings.TrimSpace(string(b))
	return o, nil
}
