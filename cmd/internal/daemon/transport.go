package daemon

import (
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/reader"
	"onecard/reader/transport"
	"onecard/terminal"
)

// capturesFile is the record of captured cards, in the state directory.
const capturesFile = "captures.jsonl"

// cardUnit returns the driver of a motorised card unit. Its slots are named after
// its port. Without a state directory, in a tool that opens readers itself, what it
// captures is in the log alone.
func cardUnit(r terminal.ReaderConfig, stateDir string, log *logrus.Logger) reader.Driver {
	entry := log.WithField("port", r.Port)
	record := func(transport.Capture) error { return nil }
	if stateDir != "" {
		record = transport.NewCaptureLog(filepath.Join(stateDir, capturesFile)).Record
	}
	return transport.New(transport.Config{
		Name:         "card unit " + r.Port,
		Open:         func() (transport.Port, error) { return transport.OpenPort(r.Port, r.Baud, r.Driver) },
		Unit:         func(p transport.Port) transport.Unit { return transport.Units[r.Unit](p, r.Baud) },
		CaptureAfter: time.Duration(r.CaptureAfter),
		ReturnAfter:  time.Duration(r.ReturnAfter),
		Record: func(c transport.Capture) error {
			entry.WithField("reason", c.Reason).WithField("in_bin", c.BinCount).Warn("a card was captured")
			return record(c)
		},
		Problem: func(err error) {
			if err == nil {
				entry.Info("the card unit works again")
				return
			}
			entry.WithError(err).Warn("the card unit has a problem")
		},
	})
}
