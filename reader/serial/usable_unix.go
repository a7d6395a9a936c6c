//go:build unix

package serial

import "golang.org/x/sys/unix"

// permitted asks whether this process may open a port, without opening it.
func permitted(port string) error { return unix.Access(port, unix.R_OK|unix.W_OK) }
