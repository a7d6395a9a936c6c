//go:build !unix

package centersim

import (
	"io/fs"
	"os"
)

// lockFile does nothing here: there is no advisory lock in the standard
// library of this system.
func lockFile(*os.File) error { return nil }

// exposed cannot be told from the mode bits of this system.
func exposed(fs.FileInfo) bool { return false }
