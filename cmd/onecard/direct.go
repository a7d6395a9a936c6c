package main

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"onecard/cmd/internal/daemon"
	"onecard/reader"
	"onecard/terminal"
	"onecard/terminal/api"
)

// A desk is what reads cards: the daemon, or the tool itself with --direct.
type desk interface {
	Identity(ctx context.Context, reader string) (terminal.IdentityDocument, error)
	File(ctx context.Context, reader, file string) (terminal.FileDocument, error)
	Files(ctx context.Context, reader string) ([]terminal.FileDocument, error)
	VerifyPIN(ctx context.Context, reader string, pin []byte) error
	APDU(ctx context.Context, reader string, commands []string) ([]terminal.APDUExchange, error)
}

var (
	_ desk = (*api.Client)(nil)
	_ desk = (*terminal.Service)(nil)
)

type directFlags struct {
	Direct bool   `help:"Open the reader without onecardd."`
	Config string `help:"With --direct: configuration with readers and keys." type:"path"`
}

// reader spells out which reader is meant when a client needs one in a path.
func (f directFlags) reader(id string) string {
	if id == "" && !f.Direct {
		return "any"
	}
	return id
}

// with runs do with the daemon, or directly.
func (f directFlags) with(a *app, remote func() (desk, error), do func(desk) error) error {
	if f.Direct {
		return f.direct(a, func(s *terminal.Service) error { return do(s) })
	}
	d, err := remote()
	if err != nil {
		return err
	}
	return do(d)
}

// direct runs a service of the tool's own, without journal and upstream, for as
// long as do takes. It waits until the readers were looked at once.
func (f directFlags) direct(a *app, do func(*terminal.Service) error) error {
	cfg := daemon.DirectConfig()
	if f.Config != "" {
		var err error
		if cfg, err = terminal.LoadConfig(f.Config); err != nil {
			return err
		}
	}
	log := logrus.New()
	log.SetOutput(a.errs)
	log.SetLevel(logrus.ErrorLevel)
	parts, release, err := daemon.DirectParts(cfg, daemon.Options{Version: version, Log: log})
	if err != nil {
		return err
	}
	defer release()
	service := terminal.New(cfg, parts)
	ctx, cancel := context.WithCancel(a.ctx)
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	// What the look has found, good or bad, is the service's to say: the doctor
	// has more to tell than the first trouble.
	err = service.Looked(ctx)
	if err == nil || errors.Is(err, reader.ErrNoCard) || errors.Is(err, reader.ErrNoReader) || errors.Is(err, reader.ErrServiceDown) {
		err = do(service)
	}
	cancel()
	return errors.Join(err, <-ended)
}
