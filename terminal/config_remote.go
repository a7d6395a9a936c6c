package terminal

import (
	"fmt"
	"net"
)

// LendConfig is what `onecard lend` serves: the PC/SC readers of this machine, to
// desks that have a certificate.
type LendConfig struct {
	// Listen is the address; empty lends nothing.
	Listen string `toml:"listen"`
	// CAFile has the authority of the desks' certificates, CertFile and KeyFile are
	// this machine's own.
	CAFile   string `toml:"ca_file"`
	CertFile string `toml:"cert_file"`
	KeyFile  string `toml:"key_file"`
}

func (l *LendConfig) check() error {
	if *l == (LendConfig{}) {
		return nil
	}
	if _, _, err := net.SplitHostPort(l.Listen); err != nil {
		return fmt.Errorf("lend.listen: host:port expected: %w", ErrConfig)
	}
	if l.CAFile == "" || l.CertFile == "" || l.KeyFile == "" {
		return fmt.Errorf("lend.cert_file: ca_file, cert_file and key_file are needed: %w", ErrConfig)
	}
	return nil
}

// checkRemote checks what a remote reader is configured with. Nothing of it may be
// missing: whoever may use a reader may talk to its cards.
func (r *ReaderConfig) checkRemote(key string) error {
	if r.Kind != "remote" {
		if r.Address+r.CAFile+r.CertFile+r.KeyFile != "" {
			return fmt.Errorf("%saddress: only a remote reader has an address and certificates: %w", key, ErrConfig)
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(r.Address); err != nil {
		return fmt.Errorf("%saddress: host:port expected: %w", key, ErrConfig)
	}
	if r.CAFile == "" || r.CertFile == "" || r.KeyFile == "" {
		return fmt.Errorf("%scert_file: a remote reader needs ca_file, cert_file and key_file: %w", key, ErrConfig)
	}
	return nil
}
