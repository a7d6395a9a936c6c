package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"onecard/terminal"
)

// The tests of this file read cards in `onecard sim reader`, a serial reader on a
// pseudo-terminal.

// serialReader starts one and returns the name of its port.
func serialReader(t testing.TB, args ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("pseudo-terminals are made on Linux")
	}
	port := filepath.Join(t.TempDir(), "port")
	p := start(t, t.TempDir(), os.Environ(), "onecard", append([]string{"sim", "reader", "--pty-link", port}, args...)...)
	if p.where != port {
		t.Fatalf("the first line ends with %q", p.where)
	}
	return port
}

// readDirect reads a card with the tool alone and the configured readers.
func readDirect(t testing.TB, readers string) (doc terminal.IdentityDocument, errs string, status int) {
	t.Helper()
	hsm := start(t, t.TempDir(), os.Environ(), "hsm", "127.0.0.1:0")
	config := filepath.Join(t.TempDir(), "onecard.toml")
	text := fmt.Sprintf("state_dir = %q\n%s[keys]\nhsm = [%q]\n", t.TempDir(), readers, hsm.where)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, status := finish(t, os.Environ(), "onecard", "--json", "read", "--direct", "--config", config)
	if status == 0 {
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return doc, errs, status
}

func TestSerialReader(t *testing.T) {
	for _, c := range []struct{ image, driver, name string }{
		{"1.0", "bugst", "王秀英"}, {"2.0", "tarm", "张三"}, {"3.0", "bugst", "欧阳海燕"},
	} {
		t.Run(c.image, func(t *testing.T) {
			port := serialReader(t, "--image", c.image, "--fault", "nak:2@4", "--fault", "corrupt:2@9")
			doc, errs, status := readDirect(t, fmt.Sprintf("[[reader]]\nkind = \"serial\"\nport = %q\ndriver = %q\nbaud = 115200\n", port, c.driver))
			if status != 0 || doc.Holder == nil || doc.Holder.Name != c.name || !doc.Authenticated {
				t.Errorf("status %d: %+v\n%s", status, doc, errs)
			}
		})
	}
	port := serialReader(t, "--mute", "--no-echo")
	if _, errs, status := readDirect(t, fmt.Sprintf("[[reader]]\nkind = \"serial\"\nport = %q\n", port)); status != 1 || !strings.Contains(errs, "OC-1102") {
		t.Errorf("a mute card: status %d\n%s", status, errs)
	}
}

// libccidtwin is pcsc-lite's own driver of serial readers.
const libccidtwin = "/usr/lib/pcsc/drivers/serial/libccidtwin.so"

// TestSerialReaderForeign puts the simulated reader before that driver: pcscd,
// programs of others, and onecard through pcscd.
func TestSerialReaderForeign(t *testing.T) {
	pcscStack(t)
	if _, err := os.Stat(libccidtwin); err != nil {
		if os.Getenv("ONECARD_PCSC_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	port := serialReader(t, "--image", "3.0")
	dir := t.TempDir()
	conf := filepath.Join(dir, "onecard-serial")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "DEVICENAME %s:GemPCTwin\nFRIENDLYNAME \"onecard serial\"\nLIBPATH %s\n", port, libccidtwin), 0o600); err != nil {
		t.Fatal(err)
	}
	// A pcscd of its own: it takes a line that is hung up badly.
	stack := func(command ...string) string {
		t.Helper()
		script, err := filepath.Abs("../../scripts/pcsc-namespace")
		if err != nil {
			t.Fatal(err)
		}
		out, errs, status := finish(t, os.Environ(), script, append([]string{"--reader-conf", conf, "--"}, command...)...)
		if status != 0 {
			t.Fatalf("%v: status %d\n%s%s", command, status, out, errs)
		}
		return out
	}
	const name = "onecard serial 00 00"
	out := stack("opensc-tool", "--reader", name, "--atr")
	if !strings.Contains(strings.ToLower(out), "3b:6d:00:00:00:81:54:4c:96:86:84:51:01:00:03:56:76") {
		t.Error(out)
	}
	// It never ends by itself.
	out = stack("sh", "-c", "timeout 2 pcsc_scan -n || test $? = 124")
	if !strings.Contains(out, name) || !strings.Contains(out, "3B 6D 00 00 00 81 54 4C 96 86 84 51 01 00 03 56 76") {
		t.Error(out)
	}
	out = stack("opensc-tool", "--reader", name,
		"-s", "00A404000F7378312E73682EC9E7BBE1B1A3D5CF00", // SELECT SSSE, whose FCI comes by GET RESPONSE
		"-s", "00A4020002EF05", "-s", "00B2030400", "-s", "00B2013500", "-s", "00200000")
	for _, want := range []string{"9F 0C 03 86 01 03", "03 04 33 2E 30 30", "SW1=0x69, SW2=0x82", "SW1=0x63, SW2=0xC6"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	hsm := start(t, t.TempDir(), os.Environ(), "hsm", "127.0.0.1:0")
	config := filepath.Join(dir, "onecard.toml")
	text := fmt.Sprintf("state_dir = %q\n[[reader]]\nkind = \"pcsc\"\nmatch = \"onecard serial*\"\n[keys]\nhsm = [%q]\n", dir, hsm.where)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var doc terminal.IdentityDocument
	if err := json.Unmarshal([]byte(stack("onecard", "--json", "read", "--direct", "--config", config)), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Holder == nil || doc.Holder.Name != "欧阳海燕" || !doc.Authenticated {
		t.Errorf("%+v", doc)
	}
}
