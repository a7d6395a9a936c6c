package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onecard/settlement"
	"onecard/terminal"
)

const key = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"

// Every style starts from a file of secrets alone, and no refusal tells them.
func TestCredentials(t *testing.T) {
	for _, x := range []struct {
		style, text string
		mode        os.FileMode
		ok          bool
	}{
		{"x-tif", "paasid = \"P\"\ntoken = \"SESAME\"", 0o600, true},
		{"csb", "access_key = \"P\"\nsecret_key = \"SESAME\"", 0o600, true},
		{"hmac-sm3+sm4-body", "ca_key = \"P\"\nca_secret = \"SESAME\"\nsm4_key = \"0123456789abcdef\"", 0o600, true},
		{"sm2-cainfo", "sm2_private_key = \"" + key + "\"", 0o600, true},
		{"mobile", "app_id = \"0123456789ABCDEF\"\napp_secret = \"SESAME\"\nsm2_private_key = \"" + key + "\"", 0o600, true},
		{"x-tif", "paasid = \"P\"\ntoken = \"SESAME\"", 0o644, false},
		{"x-tif", "paasid = \"P\"\ntoken = \"SESAME\"\npasswort = \"SESAME\"", 0o600, false},
		{"x-tif", "paasid = \"P\"\ntoken = \"SESAME\"\nca_key = \"SESAME\"", 0o600, false},
		{"x-tif", "paasid = \"P\"\ntoken = SESAME", 0o600, false},
		{"csb", "access_key = \"SESAME\"", 0o600, false},
		{"sm2-cainfo", "sm2_private_key = \"SESAME\"", 0o600, false},
		{"sm2-cainfo", "sm2_private_key = \"" + key + "\"\nupstream_public_key = \"SESAME\"", 0o600, false},
	} {
		file := filepath.Join(t.TempDir(), "secrets.toml")
		if err := os.WriteFile(file, []byte(x.text), x.mode); err != nil {
			t.Fatal(err)
		}
		cfg, err := terminal.ParseConfig([]byte("state_dir = \"s\"\n[upstream]\nurl = \"http://127.0.0.1:1\"\nstyle = \""+x.style+"\"\ncredentials_file = \""+
			file+"\"\n[institution]\ncode = \"H51010000001\"\nname = \"n\"\narea = \"510100\"\n[operator]\nno = \"1\"\nname = \"n\"\n[counter]\nspecialty = \"A03\"\n"), ".")
		if err != nil {
			t.Fatal(err)
		}
		journal, err := settlement.OpenJournal(filepath.Join(t.TempDir(), "j.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		client, err := upstream(cfg, journal)
		if (err == nil) != x.ok {
			t.Errorf("%s with %q: %v", x.style, x.text, err)
		}
		if err == nil {
			client.Close()
		} else if told := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(told, "SESAME") {
			t.Errorf("told: %s", told)
		}
		if err := journal.Close(); err != nil {
			t.Error(err)
		}
	}
}
