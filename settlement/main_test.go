package settlement

import (
	"io"
	"log"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A process of its own for tests that kill it (journal_crash_test.go).
	if role := os.Getenv("ONECARD_TEST_ROLE"); role != "" {
		os.Exit(playRole(role))
	}
	// A proxy of network_test.go that cut a connection leaves what had still to
	// pass through it in the air; ours is what must not be left.
	const proxy = "github.com/Shopify/toxiproxy/v2"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(proxy+"/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction(proxy+".(*ToxicLink).read"),
		goleak.IgnoreAnyFunction(proxy+".(*ToxicLink).write"))
}

var discardLog = log.New(io.Discard, "", 0)
