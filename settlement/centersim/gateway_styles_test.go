package centersim

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The specification's worked examples.
func TestHeaderStyles(t *testing.T) {
	csb := map[string]string{"_api_access_key": "TESTAK", "_api_name": "1101", "_api_timestamp": "1700000000000", "_api_version": "1.0.0",
		"_api_signature": "Ud3SrIPatgAJ4xBUMyUlj83JUDA="}
	ca := map[string]string{"x-ca-key": "test",
		"x-ca-signature": "1700000000:E4C9E2F1F9D82A2E8650B29715E1AD416F877B5D79C7A076BC050F5CA2DE71F2"}
	for _, x := range []struct {
		style, change, to, body string
		age                     time.Duration
		why                     string
	}{
		{StyleCSB, "", "", "{}", 0, ""},
		{StyleCSB, "", "", "{}", 30 * time.Minute, ""},
		{StyleCSB, "", "", "{}", 30*time.Minute + time.Second, "30分钟"},
		{StyleCSB, "_api_name", "", "{}", 0, "缺少_api_name"},
		{StyleCSB, "_api_name", "2207", "{}", 0, "签名错误"},
		{StyleCSB, "_api_timestamp", "x", "{}", 0, "时间戳"},
		{StyleCSB, "_api_access_key", "other", "{}", 0, "不存在"},
		{StyleHMACSM3, "", "", `{"infno":"9001"}`, 0, ""},
		{StyleHMACSM3, "", "", `{"infno":"9002"}`, 0, "签名错误"},
		{StyleHMACSM3, "", "", `{"infno":"9001"}`, time.Hour, "30分钟"},
		{StyleHMACSM3, "x-ca-key", "other", `{"infno":"9001"}`, 0, "不存在"},
		{StyleHMACSM3, "x-ca-signature", "", `{"infno":"9001"}`, 0, "缺少x-ca-signature"},
		{StyleHMACSM3, "x-ca-signature", "x:y", `{"infno":"9001"}`, 0, "时间戳"},
	} {
		g, err := newGateway(&Config{Style: x.style, Tokens: map[string]string{"TESTAK": "TESTSK", "test": "TESTSECRET"}})
		if err != nil {
			t.Fatal(err)
		}
		h := make(http.Header)
		for _, headers := range []map[string]string{csb, ca} {
			for name, value := range headers {
				h.Set(name, value)
			}
		}
		if x.change != "" {
			h.Set(x.change, x.to)
		}
		plain, problem := g.admit(h, []byte(x.body), time.Unix(1700000000, 0).Add(x.age))
		if x.why == "" && (problem != "" || string(plain) != x.body) || x.why != "" && !strings.Contains(problem, x.why) {
			t.Errorf("%+v: %s %s", x, plain, problem)
		}
	}
}

func TestStylesAreChecked(t *testing.T) {
	for _, c := range []Config{
		{Style: "magic"}, {Style: "none+csb"}, {Style: "csb+x-tif", Tokens: map[string]string{"a": "b"}}, {Style: "sm4-body+mobile"},
		{Style: "csb"}, {Style: "sm4-body", Keys: Keys{SM4: "00"}}, {Style: "sm2-cainfo"}, {Style: "sm2-cainfo", Keys: Keys{Caller: "04", Center: "00"}},
		{Style: "sm2-cainfo+sm2-cainfo"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if tokens, keys, err := CheckStyle("sm4-body+csb"); !tokens || !keys || err != nil {
		t.Errorf("%v %v %v", tokens, keys, err)
	}
	file := filepath.Join(t.TempDir(), "keys")
	for text, ok := range map[string]bool{"sm4_key = \"00\"\napp_id = x\n": true, "sm4key = 00\n": false, "": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := ReadKeys(file)
		if (err == nil) != ok || ok && (k.SM4 != "00" || k.AppID != "x") {
			t.Errorf("%q: %+v, %v", text, k, err)
		}
	}
}

// FuzzAdmit: no request, however broken, gets through a gateway that decrypts
// and verifies, and none makes it panic.
func FuzzAdmit(f *testing.F) {
	keys := Keys{
		Caller: "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13",
		Center: "128b2fa8bd433c6c068c8d803dff79792a519a55171b1b650c23661d15897263", SM4: "0123456789abcdeffedcba9876543210",
		AppID: "0123456789ABCDEF", AppSecret: "s",
	}
	var gateways []*gateway
	for _, style := range []string{"sm2-cainfo+sm4-body", "mobile"} {
		g, err := newGateway(&Config{Style: style, Keys: keys})
		if err != nil {
			f.Fatal(err)
		}
		gateways = append(gateways, g)
	}
	f.Add([]byte(`{"input":"AAAA","enc_type":"SM4"}`))
	f.Add([]byte(`{"appId":"0123456789ABCDEF","encType":"SM4","signType":"SM2","version":"1","timestamp":"1700000000","encData":"00","signData":"AA=="}`))
	f.Add([]byte(`{"input":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, g := range gateways {
			plain, problem := g.admit(make(http.Header), body, time.Unix(1700000000, 0))
			if problem == "" && (g.has(StyleMobile) || !bytes.Equal(plain, body)) {
				t.Errorf("admitted %q", body)
			}
		}
	})
}
