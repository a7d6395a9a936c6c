//go:build !unix

package serial

// permitted does not know: only opening would tell.
func permitted(string) error { return nil }
