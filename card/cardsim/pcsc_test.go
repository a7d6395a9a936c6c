package cardsim

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// plugEnv turns the test binary into a card in the reader of its value until
// standard input ends. vpcd may be in another network namespace than the test.
const plugEnv = "CARDSIM_TEST_PLUG"

func TestMain(m *testing.M) {
	if addr := os.Getenv(plugEnv); addr != "" {
		plug(addr)
		return
	}
	goleak.VerifyTestMain(m)
}

func plug(addr string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	img, err := Example("3.0")
	if err == nil {
		var c *Card
		if c, err = New(img); err == nil {
			err = ServeVPCD(ctx, addr, c)
		}
	}
	if err != nil {
		panic(err) // the parent sees it on standard error
	}
}

// TestPCSC reads the card with somebody else's software through the real
// pcscd.
func TestPCSC(t *testing.T) {
	if os.Getenv("ONECARD_PCSC") == "" {
		t.Skip("no PC/SC stack: run under scripts/pcsc-namespace")
	}
	tool, err := exec.LookPath("opensc-tool")
	if err != nil {
		if os.Getenv("ONECARD_PCSC_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	card := exec.Command(self) // ends with its standard input
	if prefix := strings.Fields(os.Getenv("ONECARD_VPCD_EXEC")); len(prefix) > 0 {
		card = exec.Command(prefix[0], append(prefix[1:], self)...)
	}
	card.Env = append(os.Environ(), plugEnv+"="+os.Getenv("ONECARD_VPCD_ADDR"))
	card.Stderr = os.Stderr
	in, err := card.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := card.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := card.Wait(); err != nil {
			t.Error("the card:", err)
		}
	})
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("opensc-tool %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	// The tool prints an empty ATR where it has waited for the card and not yet
	// connected to it.
	run("--wait", "--reader", "0", "-s", selectSSSE)
	if atr := run("--reader", "0", "--atr"); !strings.Contains(strings.ToLower(atr), "3b:6d:00:00:00:81:54:4c:96:86:84:51:01:00:03:56:76") {
		t.Error(atr)
	}
	out := run("--reader", "0",
		"-s", selectSSSE,
		"-s", "00A4020002EF05",
		"-s", "00B2030400",
		"-s", "00B2013500",
		"-s", "00200000", // asks for the tries left
		"-s", "0020000003123456",
		"-s", "00A4000002DF03",
		"-s", "00B2013C00")
	for _, want := range []string{"9F 0C 03 86 01 03", "03 04 33 2E 30 30", "SW1=0x69, SW2=0x82", "SW1=0x63, SW2=0xC6", "70 03 31 31 30"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
