//go:build !linux

package pinpad

import (
	"errors"
	"os"
)

const ownTerminal = ""

var errSystem = errors.New("only Linux has this pad")

func isTerminal(*os.File) bool { return false }

func openConsole(string) (*os.File, error) { return nil, errSystem }

type quiet struct{}

func silence(*os.File) (*quiet, error) { return nil, errSystem }

func (*quiet) restore() error { return nil }
