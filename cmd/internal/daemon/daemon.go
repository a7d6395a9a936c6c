// Package daemon puts a terminal service together from its configuration: which
// drivers, which key holder, which centre. It is wiring and nothing else.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/card/cardsim"
	"onecard/card/planstore"
	"onecard/fault"
	"onecard/hsm-sim/hsm"
	"onecard/reader"
	"onecard/reader/pcsc"
	"onecard/reader/pinpad"
	"onecard/reader/remote"
	"onecard/reader/serial"
	"onecard/reader/virtual"
	"onecard/settlement"
	"onecard/terminal"
	"onecard/terminal/api"
)

// Options are what the command line decides.
type Options struct {
	Version string
	Log     *logrus.Logger
	// Ready is called with the address once the service answers; may be nil.
	Ready func(addr string) error
}

// journalFile is the journal in the state directory; its key and its mark are
// beside it.
const journalFile = "journal.db"

// acceptJournal accepts a journal that is not the one last written, in the name
// of the user who runs onecardd.
func acceptJournal(cfg terminal.Config, reason string) error {
	if err := terminal.PrepareStateDir(cfg.StateDir); err != nil {
		return err
	}
	who := fmt.Sprint("uid ", os.Getuid())
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	return settlement.AcceptJournal(filepath.Join(cfg.StateDir, journalFile), time.Now, who, reason, settlement.WithKeyFile(cfg.Journal.KeyFile))
}

// Run is the daemon: it ends when ctx does.
func Run(ctx context.Context, cfg terminal.Config, o Options) error {
	if err := terminal.PrepareStateDir(cfg.StateDir); err != nil {
		return err
	}
	// The journal's lock is the daemon's: who holds it owns the directory.
	journal, err := settlement.OpenJournal(filepath.Join(cfg.StateDir, journalFile), time.Now, settlement.WithKeyFile(cfg.Journal.KeyFile))
	if err != nil {
		return err
	}
	defer func() {
		if err := journal.Close(); err != nil {
			o.Log.WithError(err).Error("the journal did not close")
		}
	}()
	token, err := readToken(filepath.Join(cfg.StateDir, api.TokenFile))
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w: %w", settlement.ErrAlreadyRunning, err)
	}
	defer tcp.Close()
	socket, err := listenSocket(filepath.Join(cfg.StateDir, api.SocketFile))
	if err != nil {
		return err
	}
	defer socket.Close()
	parts, release, err := newParts(cfg, o)
	if err != nil {
		return err
	}
	defer release()
	if cfg.Upstream.URL != "" {
		if parts.Upstream, err = upstream(cfg, journal); err != nil {
			return err
		}
		defer parts.Upstream.Close()
	}
	if cfg.Counter.PriceList != "" {
		if parts.Prices, err = terminal.LoadPrices(cfg.Counter.PriceList); err != nil {
			return err
		}
	}
	parts.Journal = journal
	store, err := planstore.Open(filepath.Join(cfg.StateDir, "cards.db"), time.Now)
	if err != nil {
		return err
	}
	defer func() {
		if err := store.Close(); err != nil {
			o.Log.WithError(err).Error("the journal of card writes did not close")
		}
	}()
	parts.Offline = &cfg.Upstream.Rules().Offline
	parts.Plans, parts.Debits, parts.TerminalSequence = store.Plans(), store.Debits(), store.NextTerminalSequence
	service := terminal.New(cfg, parts)
	if err := service.Restore(ctx); err != nil {
		return err
	}
	addr := tcp.Addr().String()
	server := api.New(service, api.Options{
		Listen: addr, Token: token, Log: o.Log,
		Grace: time.Duration(cfg.Upstream.ConnectTimeout) + time.Duration(cfg.Upstream.AnswerTimeout) + 5*time.Second,
	})

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serving := make(chan error, 1)
	go func() {
		defer stop() // one does not live without the other
		serving <- server.Serve(ctx, tcp, socket)
	}()
	// The listeners take connections already: whoever is told may call.
	o.Log.WithField("address", "http://"+addr+"/").WithField("version", o.Version).Info("onecardd serves")
	if o.Ready != nil {
		if err := o.Ready("http://" + addr + "/"); err != nil {
			stop()
			return errors.Join(fmt.Errorf("tell that the service is ready: %w", err), <-serving)
		}
	}
	err = service.Run(ctx)
	stop()
	return errors.Join(err, <-serving)
}

// check does everything that a start does with the configuration's files, short
// of touching the state directory and listening.
func check(cfg terminal.Config, o Options) error {
	_, release, err := newParts(cfg, o)
	if err != nil {
		return err
	}
	release()
	if cfg.Upstream.URL != "" {
		client, err := upstream(cfg, nil)
		if err != nil {
			return err
		}
		client.Close()
	}
	if cfg.Counter.PriceList != "" {
		if _, err := terminal.LoadPrices(cfg.Counter.PriceList); err != nil {
			return err
		}
	}
	return nil
}

// DirectConfig is the configuration of a tool that opens readers itself.
func DirectConfig() terminal.Config {
	return terminal.Config{
		Readers: []terminal.ReaderConfig{{Kind: "pcsc", Match: "*", Role: terminal.RoleAuto}},
		Keys:    terminal.KeysConfig{Timeout: terminal.Duration(5 * time.Second)},
		PINPad:  terminal.PINPadConfig{Kind: "none"},
	}
}

// DirectParts are the parts of such a tool: readers and keys.
func DirectParts(cfg terminal.Config, o Options) (terminal.Parts, func(), error) {
	return newParts(cfg, o)
}

func newParts(cfg terminal.Config, o Options) (parts terminal.Parts, release func(), err error) {
	parts = terminal.Parts{Log: o.Log, Now: time.Now, Version: o.Version, Pad: pinpad.None{}}
	release = func() {}
	if parts.CardOptions, err = terminal.LoadProfile(cfg.Card.Profile); err != nil {
		return parts, release, err
	}
	if parts.Drivers, parts.Simulated, err = drivers(cfg, o.Log); err != nil {
		return parts, release, err
	}
	switch cfg.PINPad.Kind {
	case "reader":
		parts.Pad = pinpad.ReaderPad{}
	case "serial":
		if parts.Pad, err = cfg.PINPad.SerialPad(); err != nil {
			return parts, release, err
		}
	case "console":
		if parts.Pad, err = pinpad.NewConsole(""); err != nil {
			return parts, release, fmt.Errorf("pinpad.kind: %w: %w", terminal.ErrConfig, err)
		}
		o.Log.Warning("PINs are typed at this program's terminal: for development only")
	case "simulated":
		parts.Pad, parts.Simulated = pinpad.Simulated{File: cfg.PINPad.PINFile}, true
	}
	if len(cfg.Keys.HSM) == 0 {
		return parts, release, nil
	}
	options := []hsm.Option{hsm.WithCallTimeout(time.Duration(cfg.Keys.Timeout))}
	if cfg.Keys.TLS {
		tls, err := hsm.LoadTLS(cfg.Keys.CAFile, cfg.Keys.CertFile, cfg.Keys.KeyFile, cfg.Keys.ServerName)
		if err != nil {
			return parts, release, fmt.Errorf("keys: %w: %w", terminal.ErrConfig, err)
		}
		options = append(options, hsm.WithTLS(tls))
	}
	client := hsm.New(cfg.Keys.HSM, options...)
	parts.Keys = client
	parts.KeysCheck = func(ctx context.Context) (bool, error) {
		info, err := client.Info(ctx)
		return info.TestKeys, err
	}
	return parts, client.Close, nil
}

// drivers returns one driver per kind that the configuration names, virtual
// slots with their cards in.
func drivers(cfg terminal.Config, log *logrus.Logger) (list []reader.Driver, simulated bool, err error) {
	var slots *virtual.Driver
	hasPCSC := false
	var ports []serial.Port
	for i, r := range cfg.Readers {
		switch r.Kind {
		case "serial":
			opener, err := serial.OpenerNamed(r.Driver)
			if err != nil {
				return nil, false, fmt.Errorf("reader[%d].driver: %w: %w", i, terminal.ErrConfig, err)
			}
			ports = append(ports, serial.Port{Name: r.Port, Baud: r.Baud, Open: opener})
		case "pcsc":
			if !hasPCSC {
				hasPCSC = true
				list = append(list, pcsc.New())
			}
		case "remote":
			line, err := remote.LoadTLS(r.CAFile, r.CertFile, r.KeyFile)
			if err != nil {
				return nil, false, fmt.Errorf("reader[%d]: %w: %w", i, terminal.ErrConfig, err)
			}
			list = append(list, remote.New(r.Address, line))
		case "transport":
			list = append(list, cardUnit(r, cfg.StateDir, log))
		case "virtual":
			simulated = true
			if slots == nil {
				slots = virtual.New()
				list = append(list, slots)
			}
			name := r.Match
			if strings.ContainsAny(name, "*?") {
				name = fmt.Sprintf("onecard virtual reader %d", i+1)
			}
			if err := slots.AddSlot(name); err != nil {
				return nil, false, fmt.Errorf("reader[%d]: %w: %w", i, terminal.ErrConfig, err)
			}
			if r.Image == terminal.NoImage {
				continue
			}
			sim, err := simulatedCard(r, log)
			if err != nil {
				return nil, false, fmt.Errorf("reader[%d].%w", i, err)
			}
			if err := slots.Insert(name, sim); err != nil {
				return nil, false, fmt.Errorf("reader[%d]: %w: %w", i, terminal.ErrConfig, err)
			}
		}
	}
	if len(ports) > 0 {
		d, err := serialReaders(ports, log)
		if err != nil {
			return nil, false, err
		}
		list = append(list, d)
	}
	return list, simulated, nil
}

// serialReaders is the driver of all serial ports.
func serialReaders(ports []serial.Port, log *logrus.Logger) (reader.Driver, error) {
	notice := func(i serial.Info, err error) {
		entry := log.WithField("port", i.Port)
		if err != nil {
			entry.WithError(err).Warn("no serial reader")
			return
		}
		entry.WithField("firmware", i.Firmware).WithField("baud", i.Baud).WithField("echo", i.Echo).Info("serial reader")
	}
	d, err := serial.New(ports, serial.WithNotice(notice))
	if err != nil {
		return nil, fmt.Errorf("reader: %w: %w", terminal.ErrConfig, err)
	}
	return d, nil
}

// simulatedCard makes the card of a virtual reader.
func simulatedCard(r terminal.ReaderConfig, log *logrus.Logger) (virtual.Card, error) {
	quirks, err := Quirks(r.Quirks)
	if err != nil {
		return nil, fmt.Errorf("quirks: %w: %w", terminal.ErrConfig, err)
	}
	if r.Image == "psam" {
		image, err := cardsim.ExamplePSAM()
		if err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
		return cardsim.NewPSAM(image, cardsim.PSAMWithQuirks(quirks...), cardsim.PSAMWithLogger(log))
	}
	image, err := LoadImage(r.Image)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	sim, err := cardsim.New(image, cardsim.WithQuirks(quirks...), cardsim.WithLogger(log))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return sim, nil
}

// Quirks returns the quirks of these names.
func Quirks(names []string) ([]cardsim.Quirk, error) {
	quirks := make([]cardsim.Quirk, 0, len(names))
	for _, name := range names {
		q, err := cardsim.ParseQuirk(name)
		if err != nil {
			return nil, err
		}
		quirks = append(quirks, q)
	}
	return quirks, nil
}

// maxImage bounds the file of a card image.
const maxImage = 4 << 20

// LoadImage reads the image of a simulated card: 1.0, 2.0, 3.0, or a file.
func LoadImage(name string) (*cardsim.Image, error) {
	switch name {
	case "1.0", "2.0", "3.0":
		return cardsim.Example(name)
	}
	text, err := ReadImage(name)
	if err != nil {
		return nil, err
	}
	return cardsim.ParseImage(text)
}

// ReadImage reads the file of an image, whatever it describes.
func ReadImage(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil || info.Size() > maxImage {
		return nil, fmt.Errorf("card image: missing or larger than %d bytes: %w", maxImage, errImage)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("card image: %w: %w", errImage, err)
	}
	return text, nil
}

var errImage = fault.New(fault.ImageInvalid, "card image not readable")

// readToken returns the token of the state directory and makes one where there
// is none yet.
func readToken(file string) (string, error) {
	text, err := terminal.ReadSecret(file)
	switch {
	case err == nil:
		if token := strings.TrimSpace(string(text)); len(token) >= 32 {
			return token, nil
		}
		return "", fmt.Errorf("token: shorter than 32 characters: %w", terminal.ErrStateDir)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	token := api.NewSecret()
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("token: %w: %w", terminal.ErrStateDir, err)
	}
	return token, nil
}

// listenSocket makes the Unix socket, 0600. What an earlier daemon left is
// removed: the journal's lock says that none runs.
func listenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket: %w: %w", terminal.ErrStateDir, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket: %w: %w", terminal.ErrStateDir, err)
	}
	// The directory is 0700, so nobody came in between.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w: %w", terminal.ErrStateDir, err), l.Close())
	}
	return l, nil
}
