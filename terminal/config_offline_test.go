package terminal

import (
	"errors"
	"strings"
	"testing"
)

const offlineLines = `[offline]
allowed = true
institution = "510104001"
purchase_limit = "100.00"
day_limit = "150.00"
day_count = 3
card_limit = "500.00"
card_count = 5
contact_hours = 24
`

// No limit of the insurer is guessed, and nothing is permitted that could not be
// told of later.
func TestOfflineConfiguration(t *testing.T) {
	parse := func(region, lines string) error {
		_, err := ParseConfig([]byte(strings.Replace(upstreamConfig, "%", region, 1)+lines), t.TempDir())
		return err
	}
	const told, style = "region = \"one-endpoint\"", "\nstyle = \"none\""
	if err := parse(told+style, offlineLines); err != nil {
		t.Fatal(err)
	}
	if err := parse("", offlineLines); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "offline.allowed") {
		t.Errorf("without a way to tell of it: %v", err)
	}
	if err := parse("", strings.Replace(offlineLines, "true", "false", 1)); err != nil {
		t.Errorf("not allowed, and still refused: %v", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(offlineLines), "\n")[2:] {
		key, _, _ := strings.Cut(line, " ")
		if err := parse(told+style, strings.Replace(offlineLines, line+"\n", "", 1)); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "offline."+key) {
			t.Errorf("without %s: %v", key, err)
		}
	}
	for wrong, key := range map[string]string{
		"purchase_limit = \"-1.00\"": "purchase_limit", "day_limit = \"1.234\"": "day_limit", "card_limit = \"0\"": "card_limit",
		"card_count = 100": "card_count", "day_count = -1": "day_count", "contact_hours = 100000": "contact_hours", "institution = \"5101040011\"": "institution",
	} {
		var lines []string
		for _, line := range strings.Split(offlineLines, "\n") {
			if strings.HasPrefix(line, key+" ") {
				line = wrong
			}
			lines = append(lines, line)
		}
		if err := parse(told+style, strings.Join(lines, "\n")); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "offline."+key) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	for _, wrong := range []string{
		"[outbox]\nattempts = -1\n", "[outbox]\nparallel = 33\n", "[outbox]\ngive_up_days = 366\n",
		"[outbox]\nfirst_pause = \"1m\"\nlongest_pause = \"1s\"\n", "[journal]\nkeep_visits_days = -1\n", "[journal]\nkeep_sent_days = 40000\n",
	} {
		if err := parse("", wrong); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
