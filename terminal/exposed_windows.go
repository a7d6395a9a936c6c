package terminal

import "os"

// exposed is the business of the directory's access list on Windows, which
// the mode bits do not show.
func exposed(os.FileInfo) bool { return false }
