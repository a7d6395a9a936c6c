package pinpad

import (
	"bytes"
	"context"
	"fmt"
	"os"
)

// Simulated is the pad of a demonstration: it enters what a file holds. The
// file is read at every entry, so that a rehearsal can change the PIN or, by
// the word "cancel" or "timeout", the outcome.
type Simulated struct {
	File string
}

// Kind implements [Pad].
func (Simulated) Kind() string { return "simulated" }

// maxEntry bounds what a person can have typed.
const maxEntry = 64

// Enter implements [Pad].
func (s Simulated) Enter(ctx context.Context, _ Prompt) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	info, err := os.Stat(s.File)
	if err != nil || info.Size() > maxEntry {
		return nil, fmt.Errorf("simulated pad: its file is missing or too long: %w", ErrNone)
	}
	text, err := os.ReadFile(s.File)
	if err != nil {
		return nil, fmt.Errorf("simulated pad: its file cannot be read: %w", ErrNone)
	}
	entry := bytes.TrimSpace(text)
	switch string(entry) {
	case "cancel":
		return nil, ErrCancelled
	case "timeout":
		return nil, ErrTimeout
	}
	return entry, nil
}
