package terminal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const upstreamConfig = `state_dir = "state"
[upstream]
url = "https://10.1.2.3"
credentials_file = "c.toml"
%
[institution]
code = "H51010000001"
name = "样例医院"
area = "510100"
[operator]
no = "1"
name = "收费一"
[counter]
specialty = "A03"
`

func upstreamOf(t *testing.T, dir, lines string) (UpstreamConfig, error) {
	t.Helper()
	c, err := ParseConfig([]byte(strings.Replace(upstreamConfig, "%", lines, 1)), dir)
	return c.Upstream, err
}

func TestRegionCompletesTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "own.toml"), []byte("name = \"own\"\nanswer_timeout = \"7s\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	u, err := upstreamOf(t, dir, `region = "path-per-infno"`)
	if err != nil || u.Style != "csb" || u.Receiver != "CSB" || u.AnswerTimeout != Duration(2*time.Minute) || u.Rules().Variants["2207"] != "2207A" {
		t.Errorf("shipped: %+v, %v", u, err)
	}
	// What is said explicitly goes before.
	u, err = upstreamOf(t, dir, "region = \"path-per-infno\"\nstyle = \"x-tif\"\nreceiver = \"OWN\"\nanswer_timeout = \"9s\"")
	if err != nil || u.Style != "x-tif" || u.Receiver != "OWN" || u.AnswerTimeout != Duration(9*time.Second) || u.ConnectTimeout != Duration(5*time.Second) {
		t.Errorf("explicit: %+v, %v", u, err)
	}
	u, err = upstreamOf(t, dir, `region = "one-endpoint"`)
	if err != nil || u.URL != "https://10.1.2.3/fsi/api/rsfComIfsService/callService" {
		t.Errorf("endpoint: %s, %v", u.URL, err)
	}
	u, err = upstreamOf(t, dir, `region = "own.toml"`)
	if err != nil || u.Style != "none" || u.Receiver != "YBXT" || u.Version != "V1.0" || u.AnswerTimeout != Duration(7*time.Second) ||
		u.ConnectTimeout != Duration(10*time.Second) || u.Rules().Name != "own" {
		t.Errorf("a file: %+v, %v", u, err)
	}
	u, err = upstreamOf(t, dir, "")
	if err != nil || u.Style != "none" || u.AnswerTimeout != Duration(time.Minute) || u.Rules().Name != "" {
		t.Errorf("none: %+v, %v", u, err)
	}
	for lines, says := range map[string]string{
		`region = "nowhere.toml"`: "upstream.region", `style = "x-tif+none+y"`: "upstream.style", "style = \"\"\nregion = \"own.tom\"": "upstream.region",
	} {
		if _, err := upstreamOf(t, dir, lines); err == nil || !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", lines, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "own.toml"), []byte("name = \"own\"\ncolour = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := upstreamOf(t, dir, `region = "own.toml"`); err == nil || !strings.Contains(err.Error(), "line 2: colour") {
		t.Errorf("a wrong file: %v", err)
	}
}
