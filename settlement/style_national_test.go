package settlement

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	ecb "github.com/emmansun/gmsm/cipher"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
	"pgregory.net/rapid"
)

// Synthetic keys of both sides.
const (
	testKey     = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"
	upstreamKey = "128b2fa8bd433c6c068c8d803dff79792a519a55171b1b650c23661d15897263"
	testSM4     = "0123456789abcdeffedcba9876543210"
)

func sm2Key(t testing.TB, text string) *sm2.PrivateKey {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sm2.NewPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// publicOf is a key's public half as the configuration has it.
func publicOf(t testing.TB, text string) string {
	key := sm2Key(t, text)
	return "04" + fmt.Sprintf("%064x%064x", key.X, key.Y)
}

// otherSign is SM2 with SM3 by another way than the styles': the library's
// signer, whose ASN.1 form is taken apart here.
func otherSign(t testing.TB, key, user string, text []byte) string {
	t.Helper()
	der, err := sm2Key(t, key).Sign(rand.Reader, text, sm2.NewSM2SignerOption(true, []byte(user)))
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 64)
	rs.R.FillBytes(raw[:32])
	rs.S.FillBytes(raw[32:])
	return base64.StdEncoding.EncodeToString(raw)
}

func otherVerify(t testing.TB, key, user string, text []byte, signature string) bool {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || len(raw) != 64 {
		t.Fatalf("signature %q", signature)
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
	if err != nil {
		t.Fatal(err)
	}
	return sm2.VerifyASN1WithSM2(&sm2Key(t, key).PublicKey, []byte(user), text, der)
}

// otherECB is SM4-ECB by the library's mode, padded here.
func otherECB(t testing.TB, key, text []byte) []byte {
	t.Helper()
	block, err := sm4.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	pad := 16 - len(text)%16
	out := append(bytes.Clone(text), bytes.Repeat([]byte{byte(pad)}, pad)...)
	ecb.NewECBEncrypter(block).CryptBlocks(out, out)
	return out
}

func otherOpen(t testing.TB, key, sealed []byte) []byte {
	t.Helper()
	block, err := sm4.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(sealed)
	ecb.NewECBDecrypter(block).CryptBlocks(out, out)
	return out[:len(out)-int(out[len(out)-1])]
}

func signed(t testing.TB, name string, c Credentials, body string) *Message {
	t.Helper()
	s, err := NewStyle(name, c)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{Infno: "1101", Header: make(http.Header), Body: []byte(body), Now: time.Unix(1700000000, 0)}
	if err := s.Sign(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func opened(t testing.TB, name string, c Credentials, answer string) (string, error) {
	t.Helper()
	s, err := NewStyle(name, c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.(Opener).Open("1101", []byte(answer))
	return string(b), err
}

func object(t testing.TB, text []byte) map[string]json.RawMessage {
	t.Helper()
	var o map[string]json.RawMessage
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return o
}

func text(t testing.TB, raw json.RawMessage) string {
	t.Helper()
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return s
}

// The worked example of the settlement facts.
func TestCSB(t *testing.T) {
	c := Credentials{ID: "TESTAK", Secret: "TESTSK"}
	m := signed(t, "csb", c, "{}")
	for name, want := range map[string]string{
		"_api_access_key": "TESTAK", "_api_name": "1101", "_api_timestamp": "1700000000000", "_api_version": "1.0.0",
		"_api_signature": "Ud3SrIPatgAJ4xBUMyUlj83JUDA=",
	} {
		if got := m.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %s", name, got, want)
		}
	}
	c.APIName, c.APIVersion = "fsi", "2.0.0"
	if m := signed(t, "csb", c, "{}"); m.Header["_api_name"][0] != "fsi" || m.Header["_api_version"][0] != "2.0.0" ||
		m.Header["_api_signature"][0] == "Ud3SrIPatgAJ4xBUMyUlj83JUDA=" {
		t.Errorf("a fixed name: %v", m.Header)
	}
}

// The worked example, and HMAC by its definition (RFC 2104) over any body.
func TestHMACSM3(t *testing.T) {
	c := Credentials{ID: "KEY", Secret: "TESTSECRET"}
	m := signed(t, "hmac-sm3", c, `{"infno":"9001"}`)
	const want = "1700000000:E4C9E2F1F9D82A2E8650B29715E1AD416F877B5D79C7A076BC050F5CA2DE71F2"
	if got := m.Header.Get("x-ca-signature"); got != want || m.Header.Get("x-ca-key") != "KEY" {
		t.Errorf("signature %s, want %s; key %s", got, want, m.Header.Get("x-ca-key"))
	}
	rapid.Check(t, func(r *rapid.T) {
		body := rapid.String().Draw(r, "body")
		secret := rapid.StringN(1, 60, 200).Draw(r, "secret")
		m := signed(t, "hmac-sm3", Credentials{ID: "k", Secret: Secret(secret)}, body)
		key := []byte(secret)
		if len(key) > 64 {
			sum := sm3.Sum(key)
			key = sum[:]
		}
		inner, outer := bytes.Repeat([]byte{0x36}, 64), bytes.Repeat([]byte{0x5c}, 64)
		for i := range key {
			inner[i] ^= key[i]
			outer[i] ^= key[i]
		}
		in := sm3.Sum(append(inner, "1700000000\n"+body...))
		out := sm3.Sum(append(outer, in[:]...))
		if want := "1700000000:" + strings.ToUpper(hex.EncodeToString(out[:])); m.Header.Get("x-ca-signature") != want {
			r.Fatalf("%s, want %s", m.Header.Get("x-ca-signature"), want)
		}
	})
}

const plainBody = `{"infno":"1101","input":{"data":{"psn_name":"张三<&>", "n":1.50}},"sign_no":"S1"}`

func TestSM2Cainfo(t *testing.T) {
	for _, user := range []string{"", "HOSPITAL"} {
		c := Credentials{SM2Key: testKey, SM2UserID: user, UpstreamKey: publicOf(t, upstreamKey)}
		if user == "" {
			user = "1234567812345678"
		}
		o := object(t, signed(t, "sm2-cainfo", c, plainBody).Body)
		// The text of the input itself, blank and all.
		const input = `{"data":{"psn_name":"张三<&>", "n":1.50}}`
		if string(o["input"]) != input || text(t, o["signtype"]) != "SM2" || text(t, o["sign_no"]) != "S1" {
			t.Errorf("body %s", o)
		}
		cainfo := text(t, o["cainfo"])
		if !otherVerify(t, testKey, user, []byte(input), cainfo) || otherVerify(t, testKey, user, []byte(input+" "), cainfo) {
			t.Errorf("cainfo %s does not fit the input alone", cainfo)
		}
		const output = `{"data": {"psn_no":"1"}}`
		good := `{"infcode":0,"output":` + output + `,"cainfo":"` + otherSign(t, upstreamKey, user, []byte(output)) + `","signtype":"SM2"}`
		if got, err := opened(t, "sm2-cainfo", c, good); err != nil || got != good {
			t.Errorf("%s, %v", got, err)
		}
		for what, bad := range map[string]string{
			"no cainfo":    `{"infcode":0,"output":` + output + `}`,
			"changed":      strings.Replace(good, `"1"`, `"2"`, 1),
			"not Base64":   `{"infcode":0,"output":` + output + `,"cainfo":"*"}`,
			"short":        `{"infcode":0,"output":` + output + `,"cainfo":"AAAA"}`,
			"another's":    `{"infcode":0,"output":` + output + `,"cainfo":"` + otherSign(t, testKey, user, []byte(output)) + `"}`,
			"another user": `{"infcode":0,"output":` + output + `,"cainfo":"` + otherSign(t, upstreamKey, "x", []byte(output)) + `"}`,
		} {
			if got, err := opened(t, "sm2-cainfo", c, bad); err == nil {
				t.Errorf("%s: opened as %s", what, got)
			}
		}
		// What upstream's platform did not make, or made without output, is for the reader of answers.
		for _, pass := range []string{`{"code":401,"message":"x"}`, `<html>`, `{"infcode":-1,"err_msg":"x","output":null}`, `{"infcode":0,"output":""}`} {
			if got, err := opened(t, "sm2-cainfo", c, pass); err != nil || got != pass {
				t.Errorf("%s: %s, %v", pass, got, err)
			}
		}
		c.UpstreamKey = ""
		if got, err := opened(t, "sm2-cainfo", c, `{"infcode":0,"output":{}}`); err != nil || got != `{"infcode":0,"output":{}}` {
			t.Errorf("without upstream's key: %s, %v", got, err)
		}
	}
	for _, key := range []string{"04", strings.Repeat("0", 128), "zz"} {
		if _, err := NewStyle("sm2-cainfo", Credentials{SM2Key: testKey, UpstreamKey: key}); err == nil {
			t.Errorf("upstream's key %q is taken", key)
		}
	}
}

func TestSM4Body(t *testing.T) {
	key, err := hex.DecodeString(testSM4)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Credentials{{SM4Key: testSM4}, {SM4Key: Secret(key)}} {
		o := object(t, signed(t, "sm4-body", c, plainBody).Body)
		sealed, err := base64.StdEncoding.DecodeString(text(t, o["input"]))
		if err != nil || text(t, o["enc_type"]) != "SM4" {
			t.Fatalf("%v: %s", err, o)
		}
		if got := string(otherOpen(t, key, sealed)); got != `{"data":{"psn_name":"张三<&>", "n":1.50}}` {
			t.Errorf("input %s", got)
		}
		answer := `{"infcode":"0","output":"` + base64.StdEncoding.EncodeToString(otherECB(t, key, []byte(`{"a":1}`))) + `","enctype":"SM4"}`
		got, err := opened(t, "sm4-body", c, answer)
		if err != nil || got != `{"infcode":"0","output":{"a":1},"enctype":"SM4"}` {
			t.Errorf("%s, %v", got, err)
		}
		for _, bad := range []string{"*", "AAAA", base64.StdEncoding.EncodeToString(otherECB(t, key, []byte("no JSON"))),
			base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 16))} {
			if got, err := opened(t, "sm4-body", c, `{"infcode":0,"output":"`+bad+`"}`); err == nil {
				t.Errorf("%s opened as %s", bad, got)
			}
		}
		for _, pass := range []string{`{"code":401}`, `<html>`, `{"infcode":-1,"output":null}`, `{"infcode":0,"output":{}}`, `{"infcode":0,"output":"{}"}`, `{"infcode":0,"output":"null"}`} {
			if got, err := opened(t, "sm4-body", c, pass); err != nil || got != pass {
				t.Errorf("%s: %s, %v", pass, got, err)
			}
		}
	}
}

// All together: cainfo over the plain input, the header over the body that
// leaves, and the answer back through both.
func TestCombination(t *testing.T) {
	key, err := hex.DecodeString(testSM4)
	if err != nil {
		t.Fatal(err)
	}
	c := Credentials{ID: "k", Secret: "TESTSECRET", SM2Key: testKey, UpstreamKey: publicOf(t, upstreamKey), SM4Key: testSM4}
	for _, name := range []string{"hmac-sm3+sm2-cainfo+sm4-body", "sm4-body+sm2-cainfo+hmac-sm3"} {
		s, err := NewStyle(name, c)
		if err != nil || s.Name() != "sm2-cainfo+sm4-body+hmac-sm3" {
			t.Fatalf("%s: %v, %v", name, s, err)
		}
		m := signed(t, name, c, plainBody)
		o := object(t, m.Body)
		sealed, err := base64.StdEncoding.DecodeString(text(t, o["input"]))
		if err != nil {
			t.Fatal(err)
		}
		if plain := otherOpen(t, key, sealed); !otherVerify(t, testKey, "1234567812345678", plain, text(t, o["cainfo"])) {
			t.Error("cainfo does not fit the plain input")
		}
		if again := signed(t, "hmac-sm3", c, string(m.Body)); again.Header.Get("x-ca-signature") != m.Header.Get("x-ca-signature") {
			t.Error("x-ca-signature does not cover the body as it leaves")
		}
		const output = `{"data":{"psn_no":"1"}}`
		answer := func(signer string) string {
			return `{"infcode":0,"output":"` + base64.StdEncoding.EncodeToString(otherECB(t, key, []byte(output))) +
				`","cainfo":"` + otherSign(t, signer, "1234567812345678", []byte(output)) + `"}`
		}
		got, err := opened(t, name, c, answer(upstreamKey))
		if err != nil || string(object(t, []byte(got))["output"]) != output {
			t.Errorf("%s, %v", got, err)
		}
		if _, err := opened(t, name, c, answer(testKey)); err == nil {
			t.Error("an answer signed by another was opened")
		}
	}
}

func TestMobile(t *testing.T) {
	const appID, secret, user = "1A2B3C4D5E6F7G8H9I0J", "TESTAPPSECRET", "1234567812345678"
	c := Credentials{AppID: appID, AppSecret: secret, SM2Key: testKey, UpstreamKey: publicOf(t, upstreamKey)}
	// The message key, worked out by hand of the library's own mode.
	key := []byte(strings.ToUpper(hex.EncodeToString(otherECB(t, []byte(appID[:16]), []byte(secret))))[:16])
	o := object(t, signed(t, "mobile", c, plainBody).Body)
	var pairs []string
	for _, name := range []string{"appId", "encType", "signType", "timestamp", "version"} {
		pairs = append(pairs, name+"="+text(t, o[name]))
	}
	if got := strings.Join(pairs, "&"); got != "appId="+appID+"&encType=SM4&signType=SM2&timestamp=1700000000&version=2.0.1" || len(o) != 7 {
		t.Errorf("envelope %s", got)
	}
	encData := text(t, o["encData"])
	sealed, err := hex.DecodeString(encData)
	if err != nil || encData != strings.ToUpper(encData) || string(otherOpen(t, key, sealed)) != plainBody {
		t.Errorf("encData %s: %v", encData, err)
	}
	pairs = append(pairs, "data="+plainBody)
	sort.Strings(pairs)
	if !otherVerify(t, testKey, user, []byte(strings.Join(pairs, "&")+"&key="+secret), text(t, o["signData"])) {
		t.Error("signData does not fit")
	}

	const plain = `{"infcode":0,"output":{}}`
	answer := func(signed string) string {
		return `{"success":true,"code":0,"message":"","appId":"` + appID + `","note":null,"encData":"` + fmt.Sprintf("%X", otherECB(t, key, []byte(plain))) +
			`","signData":"` + otherSign(t, upstreamKey, user, []byte(signed)) + `"}`
	}
	good := answer("appId=" + appID + "&code=0&data=" + plain + "&success=true&key=" + secret)
	if got, err := opened(t, "mobile", c, good); err != nil || got != plain {
		t.Errorf("%s, %v", got, err)
	}
	for what, bad := range map[string]string{
		"another secret": answer("appId=" + appID + "&code=0&data=" + plain + "&success=true&key=other"),
		"changed member": strings.Replace(good, `"code":0`, `"code":1`, 1),
		"no envelope":    plain,
		"no hexadecimal": `{"encData":"zz"}`,
		"no JSON":        `{"encData":"` + fmt.Sprintf("%X", otherECB(t, key, []byte("x"))) + `"}`,
		"an object":      strings.Replace(good, `"note":null`, `"note":{}`, 1),
		"no signature":   `{"encData":"` + fmt.Sprintf("%X", otherECB(t, key, []byte(plain))) + `"}`,
	} {
		if got, err := opened(t, "mobile", c, bad); err == nil {
			t.Errorf("%s: opened as %s", what, got)
		}
	}
	if got, err := opened(t, "mobile", c, `{"code":401,"message":"x"}`); err != nil || got != `{"code":401,"message":"x"}` {
		t.Errorf("a gateway's refusal: %s, %v", got, err)
	}
}

// FuzzOpen: whatever upstream answers, opening it does not panic, and what is
// opened was JSON or is as it came.
func FuzzOpen(f *testing.F) {
	key, err := hex.DecodeString(testSM4)
	if err != nil {
		f.Fatal(err)
	}
	c := Credentials{ID: "k", Secret: "s", SM2Key: testKey, UpstreamKey: publicOf(f, upstreamKey), SM4Key: testSM4, AppID: "1A2B3C4D5E6F7G8H", AppSecret: "x"}
	for _, seed := range []string{`{"infcode":0,"output":"AAAA"}`, `{"output":{},"output":1}`, `{"encData":"00","signData":""}`, `[]`, `{`,
		`{"infcode":0,"output":"` + base64.StdEncoding.EncodeToString(otherECB(f, key, []byte(`{"a":1}`))) + `","cainfo":"AA=="}`, `{"code":401}`} {
		f.Add([]byte(seed))
	}
	var styles []Opener
	for _, name := range []string{"sm2-cainfo", "sm4-body", "mobile", "x-tif+sm2-cainfo+sm4-body"} {
		s, err := NewStyle(name, c)
		if err != nil {
			f.Fatal(err)
		}
		styles = append(styles, s.(Opener))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, s := range styles {
			got, err := s.Open("1101", answer)
			if err == nil && !bytes.Equal(got, answer) && !json.Valid(got) {
				t.Errorf("opened as %q", got)
			}
		}
	})
}
