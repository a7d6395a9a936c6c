package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The tests of this file read cards in `onecard sim transport`, a card unit on a
// pseudo-terminal.

// cardUnit starts one and returns the name of its port.
func cardUnit(t testing.TB, args ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("pseudo-terminals are made on Linux")
	}
	port := filepath.Join(t.TempDir(), "unit")
	p := start(t, t.TempDir(), os.Environ(), "onecard", append([]string{"sim", "transport", "--pty-link", port}, args...)...)
	if p.where != port {
		t.Fatalf("the first line ends with %q", p.where)
	}
	return port
}

func unitConfig(port, driver string) string {
	return fmt.Sprintf("[[reader]]\nkind = \"transport\"\nport = %q\ndriver = %q\nbaud = 115200\n", port, driver)
}

// Cards of all versions are read with their holder, through faults of the line.
func TestCardUnit(t *testing.T) {
	for _, c := range []struct{ image, driver, name string }{
		{"1.0", "bugst", "王秀英"}, {"2.0", "tarm", "张三"}, {"3.0", "bugst", "欧阳海燕"},
	} {
		t.Run(c.image, func(t *testing.T) {
			port := cardUnit(t, "--inside", c.image, "--fault", "nak:51@3", "--fault", "corrupt:51@5", "--fault", "lost-ack:51@7", "--fault", "noise:51@8", "--letter-e")
			doc, errs, status := readDirect(t, unitConfig(port, c.driver))
			if status != 0 || doc.Holder == nil || doc.Holder.Name != c.name || !doc.Authenticated {
				t.Errorf("status %d: %+v\n%s", status, doc, errs)
			}
		})
	}
}

func TestCardUnitCommandLine(t *testing.T) {
	out, _, status := finish(t, os.Environ(), "onecard", "sim", "transport", "--fault", "list")
	if status != 0 || !strings.Contains(out, "power-loss\n") {
		t.Errorf("status %d: %s", status, out)
	}
	for _, args := range [][]string{{"--fault", "nonsense"}, {"--fault", "error=1"}, {"--bin", "1000"}, {"--image", "nowhere.json"}} {
		if _, errs, status := finish(t, os.Environ(), "onecard", append([]string{"sim", "transport"}, args...)...); status == 0 || errs == "" {
			t.Errorf("%v: status %d", args, status)
		}
	}
}
