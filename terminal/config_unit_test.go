package terminal

import (
	"strings"
	"testing"
	"time"
)

func TestCardUnitIsConfigured(t *testing.T) {
	with := func(lines string) (ReaderConfig, error) {
		text := strings.Replace(goodConfig, "kind = \"virtual\"\nimage = \"3.0\"", lines, 1)
		if text == goodConfig {
			t.Fatal("nothing replaced")
		}
		c, err := ParseConfig([]byte(text), "/x")
		if err != nil {
			return ReaderConfig{}, err
		}
		return c.Readers[0], nil
	}
	r, err := with("kind = \"transport\"\nport = \"/dev/ttyS1\"")
	if err != nil || r.Unit != "crt571" || r.Baud != 9600 || r.CaptureAfter != Patience(time.Minute) || r.ReturnAfter != Patience(2*time.Minute) {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = with("kind = \"transport\"\nport = \"COM3\"\nunit = \"crt571\"\nbaud = 38400\ndriver = \"tarm\"\ncapture_after = \"20s\"\nreturn_after = \"5m\"")
	if err != nil || r.Port != "COM3" || r.Baud != 38400 || r.Driver != "tarm" || r.CaptureAfter != Patience(20*time.Second) || r.ReturnAfter != Patience(5*time.Minute) {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = with("kind = \"transport\"\nport = \"x\"\ncapture_after = \"never\"\nreturn_after = \"never\"\nreturn_after_visit = true\nhopper = true")
	if err != nil || r.CaptureAfter != Never || r.ReturnAfter != Never || r.CaptureAfter.Duration() != 0 || !r.ReturnAfterVisit || !r.Hopper {
		t.Errorf("%+v, %v", r, err)
	}
	for lines, says := range map[string]string{
		"kind = \"transport\"":                                        "port",
		"kind = \"transport\"\nport = \"x\"\nunit = \"crt310\"":       "unit",
		"kind = \"transport\"\nport = \"x\"\nbaud = 1200":             "baud",
		"kind = \"transport\"\nport = \"x\"\ndriver = \"y\"":          "driver",
		"kind = \"transport\"\nport = \"x\"\nimage = \"3.0\"":         "image",
		"kind = \"transport\"\nport = \"x\"\ncapture_after = \"0s\"":  "capture_after",
		"kind = \"virtual\"\nimage = \"3.0\"\nunit = \"crt571\"":      "unit",
		"kind = \"virtual\"\nimage = \"3.0\"\ncapture_after = \"1m\"": "capture_after",
		"kind = \"pcsc\"\nreturn_after = \"1m\"":                      "return_after",
		"kind = \"pcsc\"\nreturn_after_visit = true":                  "return_after_visit",
		"kind = \"pcsc\"\nhopper = true":                              "hopper",
		"kind = \"transport\"\nport = \"x\"\ncapture_after = \"11m\"": "capture_after",
		"kind = \"pcsc\"\nport = \"/dev/ttyS1\"":                      "port",
	} {
		if _, err := with(lines); err == nil || !strings.Contains(err.Error(), "reader[0]."+says) && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", lines, err)
		}
	}
}
