// Onecardd is the daemon of a desk: it owns the card readers and serves the
// pages and the API on a loopback address.
//
//	onecardd --config /etc/onecard/onecard.toml
//
// It ends with status 0 on SIGTERM or SIGINT after what is under way has ended,
// 1 where it cannot start or go on, 2 for a wrong command line.
package main

import (
	"os"

	"onecard/cmd/internal/daemon"
)

// version is set by the linker.
var version = "development"

func main() { os.Exit(daemon.Main(version, os.Args[1:], os.Stdout, os.Stderr)) }
