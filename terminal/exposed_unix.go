//go:build unix

package terminal

import "os"

// exposed reports whether anybody but the owner may read.
func exposed(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
