// Package pinpad is where a holder enters the PIN: never a page, never HTTP.
// A [Pad] shows a prompt, takes the digits and hands them to the one who asked,
// who wipes them.
package pinpad

import (
	"context"
	"time"

	"onecard/fault"
)

// The ways in which an entry ends without a PIN.
var (
	ErrNone      = fault.New(fault.NoPINPad, "no PIN pad")
	ErrCancelled = fault.New(fault.PINCancelled, "PIN entry cancelled")
	ErrTimeout   = fault.New(fault.PINTimeout, "PIN entry timed out")
)

// EntryTime bounds one entry.
const EntryTime = 60 * time.Second

// A Prompt is what the pad shows.
type Prompt int

// The prompts.
const (
	Enter Prompt = iota // enter the PIN
	Old                 // enter the old PIN
	New                 // enter a new PIN
	Again               // enter the new PIN again
)

// A Pad takes a PIN from a person.
type Pad interface {
	// Kind is the word of the configuration: simulated.
	Kind() string

	// Enter shows the prompt and returns the digits as ASCII, 4 to 16. The
	// caller wipes them. It returns an error wrapping ErrCancelled,
	// ErrTimeout or ErrNone, and never blocks past ctx or EntryTime.
	Enter(ctx context.Context, prompt Prompt) ([]byte, error)
}

// None is the pad of a desk that has none.
type None struct{}

// Kind implements [Pad].
func (None) Kind() string { return "none" }

// Enter implements [Pad]: it always fails with ErrNone.
func (None) Enter(context.Context, Prompt) ([]byte, error) { return nil, ErrNone }
