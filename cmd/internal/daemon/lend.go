package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"onecard/reader/pcsc"
	"onecard/reader/remote"
	"onecard/terminal"
)

// Lend lends the PC/SC readers of this machine until ctx ends. Ready is told the
// address.
func Lend(ctx context.Context, cfg terminal.LendConfig, ready func(addr string)) error {
	if cfg.Listen == "" {
		return fmt.Errorf("lend.listen: missing: %w", terminal.ErrConfig)
	}
	line, err := remote.LoadTLS(cfg.CAFile, cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("lend: %w: %w", terminal.ErrConfig, err)
	}
	tcp, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("lend.listen: %w: %w", terminal.ErrConfig, err)
	}
	ready(tcp.Addr().String())
	return remote.Lend(ctx, tls.NewListener(tcp, line), pcsc.New())
}
