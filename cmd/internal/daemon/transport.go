package daemon

import (
	"path/filepath"

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
	var recorded func(string) (int, bool, error)
	if stateDir != "" {
		captures := transport.NewCaptureLog(filepath.Join(stateDir, capturesFile))
		record = captures.Record
		recorded = func(serial string) (int, bool, error) {
			last, ok, err := captures.Last(serial)
			return last.BinCount, ok, err
		}
	}
	return transport.New(transport.Config{
		Name:         transport.UnitName(r.Port),
		Open:         func() (transport.Port, error) { return transport.OpenPort(r.Port, r.Baud, r.Driver) },
		Unit:         func(p transport.Port) transport.Unit { return transport.Units[r.Unit](p, r.Baud) },
		CaptureAfter: r.CaptureAfter.Duration(),
		ReturnAfter:  r.ReturnAfter.Duration(),
		Hopper:       r.Hopper,
		Recorded:     recorded,
		Record: func(c transport.Capture) error {
			if c.Reason == transport.Emptied {
				entry.Info("the reject bin was emptied")
			} else {
				entry.WithField("reason", c.Reason).WithField("in_bin", c.BinCount).Warn("a card was captured")
			}
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
