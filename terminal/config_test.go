package terminal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sirupsen/logrus"
)

const goodConfig = `
state_dir = "state"
[[reader]]
kind = "virtual"
image = "3.0"
[upstream]
url = "http://127.0.0.1:1/x"
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

func TestConfigIsReadAndCompleted(t *testing.T) {
	c, err := ParseConfig([]byte(goodConfig), "/etc/onecard")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8750" || c.StateDir != "/etc/onecard/state" || c.Readers[0].Match != "*" || c.Readers[0].Role != "auto" ||
		c.Upstream.Style != "none" || c.PINPad.Kind != "none" {
		t.Errorf("%+v", c)
	}
}

func TestConfigIsRefused(t *testing.T) {
	for _, c := range []struct{ name, from, to, says string }{
		{"unknown key", `name = "收费一"`, "name = \"收费一\"\ncolour = 1", "colour"},
		{"unknown table", "[operator]", "[x]\ny=1\n[operator]", "x"},
		{"not TOML", "[operator]", "[operator", "line"},
		{"all interfaces", "state_dir", "listen = \"0.0.0.0:8750\"\nstate_dir", "listen"},
		{"a name", "state_dir", "listen = \"localhost:8750\"\nstate_dir", "listen"},
		{"no state_dir", `state_dir = "state"`, "", "state_dir"},
		{"log level", "state_dir", "log_level = \"loud\"\nstate_dir", "log_level"},
		{"kind", `kind = "virtual"`, `kind = "usb"`, "reader[0].kind"},
		{"serial", `kind = "virtual"`, `kind = "serial"`, "reader[0].port"},
		{"serial with an image", `kind = "virtual"`, "kind = \"serial\"\nport = \"/dev/ttyS9\"", "reader[0].image"},
		{"serial library", `kind = "virtual"`, "kind = \"serial\"\nport = \"/dev/ttyS9\"\ndriver = \"x\"", "reader[0].driver"},
		{"serial rate", `kind = "virtual"`, "kind = \"serial\"\nport = \"/dev/ttyS9\"\nbaud = 7", "reader[0].baud"},
		{"no image", `image = "3.0"`, "", "reader[0].image"},
		{"role", `image = "3.0"`, "image = \"3.0\"\nrole = \"x\"", "reader[0].role"},
		{"url", `http://127.0.0.1:1/x`, `ftp://x`, "upstream.url"},
		{"credentials in the url", `http://127.0.0.1:1/x`, `http://a:b@c/`, "upstream.url"},
		{"institution", `H51010000001`, `H1`, "institution.code"},
		{"institution's name", `样例医院`, ``, "institution.name"},
		{"area", `area = "510100"`, `area = "51010"`, "institution.area"},
		{"operator", `no = "1"`, "", "operator.no"},
		{"specialty", `specialty = "A03"`, "", "counter.specialty"},
		{"style", "[institution]", "style = \"magic\"\n[institution]", "upstream.style"},
		{"x-tif without secrets", "[institution]", "style = \"x-tif\"\n[institution]", "upstream.credentials_file"},
		{"time-out", "[institution]", "answer_timeout = \"1h\"\n[institution]", "answer_timeout"},
		{"lane", "[institution]", "lane = 2\nlanes = 2\n[institution]", "upstream.lane"},
		{"hsm", "[institution]", "[keys]\nhsm=[\"x\"]\n[institution]", "keys.hsm[0]"},
		{"certificates without tls", "[institution]", "[keys]\nca_file=\"x\"\n[institution]", "keys.tls"},
		{"half a certificate", "[institution]", "[keys]\ntls=true\ncert_file=\"x\"\n[institution]", "keys.cert_file"},
		{"pad", "[institution]", "[pinpad]\nkind=\"x\"\n[institution]", "pinpad.kind"},
		{"pad with digits", "[institution]", "[pinpad]\nkind=\"console\"\ndigits=6\n[institution]", "pinpad.digits"},
		{"pad with too few digits", "[institution]", "[pinpad]\nkind=\"reader\"\ndigits=3\n[institution]", "pinpad.digits"},
		{"pad with too many digits", "[institution]", "[pinpad]\nkind=\"reader\"\ndigits=13\n[institution]", "pinpad.digits"},
		{"pad without a file", "[institution]", "[pinpad]\nkind=\"simulated\"\n[institution]", "pinpad.pin_file"},
	} {
		text := strings.Replace(goodConfig, c.from, c.to, 1)
		if text == goodConfig {
			t.Fatalf("%s: nothing replaced", c.name)
		}
		_, err := ParseConfig([]byte(text), ".")
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to name %s", c.name, err, c.says)
		}
		if !errors.Is(err, ErrConfig) && !errors.Is(err, ErrConfigKey) && !errors.Is(err, ErrListen) {
			t.Errorf("%s: %v has no code of configurations", c.name, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte("[[reader]]\nkind=1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text, "/x")
		if err == nil && (c.StateDir == "" || len(c.Readers) == 0) {
			t.Error("an incomplete configuration is taken")
		}
	})
}

func TestSecretsAndStateMustBePrivate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(file); !errors.Is(err, ErrExposed) {
		t.Errorf("a readable secret: %v", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := ReadSecret(file); err != nil || string(text) != "x" {
		t.Errorf("a private secret: %v", err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := PrepareStateDir(open); !errors.Is(err, ErrStateDir) {
		t.Errorf("an open state directory: %v", err)
	}
	if err := PrepareStateDir(filepath.Join(dir, "new")); err != nil {
		t.Error(err)
	}
	if err := PrepareStateDir(file); !errors.Is(err, ErrStateDir) {
		t.Errorf("a file for a state directory: %v", err)
	}
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"", "", true}, {"", "x", false}, {"a*c", "abbc", true}, {"a*c", "abb", false}, {"?", "好", true},
		{"Reader [CCID] (1) *", "Reader [CCID] (1) 00 00", true}, {"*PCD*01", "Virtual PCD 00 01", true}, {"*PCD*01", "Virtual PCD 00 00", false},
	} {
		if got := wildcard(c.pattern, c.name); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		if !wildcard("*", name) || !wildcard(name, name) && !strings.ContainsAny(name, "*?") {
			t.Fatalf("%q does not match itself", name)
		}
	})
}

func TestMasks(t *testing.T) {
	for in, want := range map[string]string{"": "", "张": "张*", "张三": "张*", "欧阳海燕": "欧***"} {
		if got := MaskName(in); got != want {
			t.Errorf("MaskName(%q) = %q", in, got)
		}
	}
	if got := MaskNumber("410101199003074531", 4); got != "4101************31" {
		t.Error(got)
	}
	if got := MaskNumber("123456", 4); got != "******" {
		t.Error(got)
	}
	if got := MaskDate("1990-03-07"); got != "1990-**-**" {
		t.Error(got)
	}
	if MaskDate("1990") != "" {
		t.Error("a date that is none")
	}
}

func TestLogsHoldNoNumbers(t *testing.T) {
	var out strings.Builder
	log := logrus.New()
	log.SetOutput(&out)
	log.SetFormatter(&logrus.JSONFormatter{})
	log.AddHook(MaskHook{})
	log.WithError(errors.New("card 410100D15600000500BF7C7A48FB4966 of 410101199003074531")).
		WithField("card", "A00000011").WithField("n", 12).Warn("account 6217000012345678901 and 41010119900307453X")
	for _, secret := range []string{"410100D156", "410101199", "A00000011", "62170000"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the log holds %s: %s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), `"n":12`) {
		t.Error("harmless fields are gone")
	}
}

func TestPriceList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prices")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# list\n\nA1\t阿司匹林\t0.52\r\nB1\t氨氯地平片\t1\nC1\t复方阿司匹林\t2\n")
	items, err := LoadPrices(file)
	if err != nil || len(items) != 3 {
		t.Fatalf("%v, %v", items, err)
	}
	s := &Service{parts: Parts{Prices: items}}
	if got := s.Prices("阿司"); len(got) != 2 || got[0].Code != "A1" || got[1].Code != "C1" {
		t.Errorf("found %v", got)
	}
	if got := s.Prices(" "); len(got) != 0 {
		t.Errorf("nothing asked, found %v", got)
	}
	for _, bad := range []string{"A\tB", "A\tB\tx", "\tB\t1"} {
		write(bad)
		if _, err := LoadPrices(file); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
