//go:build linux

package daemon

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/reader"
	"onecard/reader/serial/serialsim"
	"onecard/reader/transport/transportsim"
	"onecard/terminal"
)

// said hands every message of a log on.
type said chan string

func (said) Levels() []logrus.Level { return logrus.AllLevels }

func (s said) Fire(e *logrus.Entry) error {
	s <- e.Message
	return nil
}

// The configured times and the state directory reach the unit: a card that nobody
// uses and nobody takes ends in the bin, in the log and in the file.
func TestCapturedCardsAreRecorded(t *testing.T) {
	pty, err := serialsim.OpenPty("")
	if err != nil {
		t.Fatal(err)
	}
	sim := transportsim.New(transportsim.WithInside(&transportsim.Card{}))
	ctx, stop := context.WithCancel(t.Context())
	served, watched := make(chan error, 1), make(chan error, 1)
	go func() { served <- sim.Serve(ctx, pty) }()
	log, messages := logrus.New(), make(said, 100)
	log.SetOutput(io.Discard)
	log.AddHook(messages)
	dir := t.TempDir()
	d := cardUnit(terminal.ReaderConfig{
		Kind: "transport", Unit: "crt571", Port: pty.Port(), Baud: 115200,
		CaptureAfter: terminal.Patience(time.Millisecond), ReturnAfter: terminal.Patience(time.Millisecond),
	}, dir, log)
	go func() { watched <- d.Watch(ctx, func(reader.Snapshot) {}) }()
	for message := ""; message != "a card was captured"; {
		select {
		case message = <-messages:
		case <-time.After(time.Minute):
			t.Fatalf("nothing is captured: %+v", sim.State())
		}
	}
	stop()
	for _, ended := range []chan error{watched, served} {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, capturesFile))
	if err != nil || strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), "left at the mouth") {
		t.Errorf("%s, %v", text, err)
	}
}
