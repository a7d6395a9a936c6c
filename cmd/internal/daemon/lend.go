package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"

	"github.com/sirupsen/logrus"

	"onecard/reader/remote"
	"onecard/terminal"
)

// Lend lends the readers of the configuration, PC/SC where it names none, until ctx
// ends; those of a third machine are not passed on. Ready is told the address.
func Lend(ctx context.Context, cfg terminal.Config, log *logrus.Logger, ready func(addr string)) error {
	l := cfg.Lend
	if l.Listen == "" {
		return fmt.Errorf("lend.listen: missing: %w", terminal.ErrConfig)
	}
	line, err := remote.LoadTLS(l.CAFile, l.CertFile, l.KeyFile)
	if err != nil {
		return fmt.Errorf("lend: %w: %w", terminal.ErrConfig, err)
	}
	cfg.Readers = slices.DeleteFunc(slices.Clone(cfg.Readers), func(r terminal.ReaderConfig) bool { return r.Kind == "remote" })
	lent, _, err := drivers(cfg, log)
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", l.Listen)
	if err != nil {
		return fmt.Errorf("lend.listen: %w: %w", terminal.ErrConfig, err)
	}
	ready(tcp.Addr().String())
	return remote.Lend(ctx, tls.NewListener(tcp, line), lent, func(from net.Addr, why error) {
		log.WithField("from", from.String()).WithError(why).Warning("a desk was refused")
	})
}
