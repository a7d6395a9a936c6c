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
	goleak.VerifyTestMain(m)
}

var discardLog = log.New(io.Discard, "", 0)
