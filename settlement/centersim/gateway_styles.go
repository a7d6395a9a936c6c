package centersim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	modes "github.com/emmansun/gmsm/cipher"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

// Further signature styles of the gateway. One that signs by headers, one that
// wraps the body and StyleSM2Cainfo can be joined by "+".
const (
	StyleCSB       = "csb"        // _api_ headers
	StyleHMACSM3   = "hmac-sm3"   // x-ca headers
	StyleSM2Cainfo = "sm2-cainfo" // cainfo over the plain input and output
	StyleSM4Body   = "sm4-body"   // input and output encrypted
	StyleMobile    = "mobile"     // the envelope of the mobile platform
)

// Keys are what the styles beyond headers need, see ReadKeys.
type Keys struct {
	Caller    string // the caller's SM2 public key, 130 hexadecimal digits
	Center    string // the centre's SM2 private key, 64 hexadecimal digits
	UserID    string // of both; "": 1234567812345678
	SM4       string // 32 hexadecimal digits
	AppID     string // of the mobile platform's caller
	AppSecret string
}

// ReadKeys reads Keys from a file in the form of ReadTokens: caller_public_key,
// center_private_key, sm2_user_id, sm4_key, app_id, app_secret.
func ReadKeys(name string) (Keys, error) {
	lines, err := ReadTokens(name)
	if err != nil {
		return Keys{}, err
	}
	var k Keys
	for name, to := range map[string]*string{"caller_public_key": &k.Caller, "center_private_key": &k.Center, "sm2_user_id": &k.UserID,
		"sm4_key": &k.SM4, "app_id": &k.AppID, "app_secret": &k.AppSecret} {
		*to = lines[name]
		delete(lines, name)
	}
	for name := range lines {
		return Keys{}, fmt.Errorf("read keys: %q is not one of them", printable(name))
	}
	return k, nil
}

// CheckStyle says whether a style wants Tokens and Keys.
func CheckStyle(style string) (tokens, keys bool, err error) {
	headers, wraps := 0, 0
	parts := strings.Split(style, "+")
	for i, part := range parts {
		if slices.Contains(parts[:i], part) {
			return false, false, fmt.Errorf("style %s is named twice", part)
		}
		switch part {
		case StyleNone:
			if len(parts) > 1 {
				return false, false, errors.New("style none is joined with nothing")
			}
		case StyleXTif, StyleCSB, StyleHMACSM3:
			headers++
		case StyleSM4Body, StyleMobile:
			wraps++
			keys = true
		case StyleSM2Cainfo:
			keys = true
		default:
			return false, false, fmt.Errorf("style %q is not none, x-tif, csb, hmac-sm3, sm2-cainfo, sm4-body or mobile", printable(part))
		}
	}
	if headers > 1 || wraps > 1 {
		return false, false, errors.New("at most one style of headers and one around the body")
	}
	return headers == 1, keys, nil
}

// A gateway is what stands before the platform: it admits requests, as plain as
// the platform reads them, and seals answers.
type gateway struct {
	parts     []string
	tokens    map[string]string
	caller    *ecdsa.PublicKey
	own       *sm2.PrivateKey
	user      []byte
	key       []byte // of SM4
	appID     string
	appSecret string
}

func newGateway(c *Config) (*gateway, error) {
	wantTokens, _, err := CheckStyle(c.Style)
	if err != nil {
		return nil, err
	}
	if wantTokens && len(c.Tokens) == 0 {
		return nil, fmt.Errorf("style %s needs tokens", c.Style)
	}
	g := &gateway{parts: strings.Split(c.Style, "+"), tokens: c.Tokens, user: []byte(c.Keys.UserID), appID: c.Keys.AppID, appSecret: c.Keys.AppSecret}
	if len(g.user) == 0 {
		g.user = []byte("1234567812345678")
	}
	if g.has(StyleSM2Cainfo) || g.has(StyleMobile) {
		public, err1 := hex.DecodeString(c.Keys.Caller)
		private, err2 := hex.DecodeString(c.Keys.Center)
		if err1 != nil || err2 != nil {
			return nil, errors.New("the SM2 keys are not hexadecimal")
		}
		if g.caller, err = sm2.NewPublicKey(public); err != nil {
			return nil, errors.New("the caller's SM2 public key is not one")
		}
		if g.own, err = sm2.NewPrivateKey(private); err != nil {
			return nil, errors.New("the centre's SM2 private key is not one")
		}
	}
	if g.has(StyleSM4Body) {
		if g.key, err = hex.DecodeString(c.Keys.SM4); err != nil || len(g.key) != 16 {
			return nil, errors.New("the SM4 key is not 32 hexadecimal digits")
		}
	}
	if g.has(StyleMobile) {
		if len(g.appID) < 16 || g.appSecret == "" {
			return nil, errors.New("style mobile needs an app id of at least 16 characters and its secret")
		}
		g.key = []byte(strings.ToUpper(hex.EncodeToString(crypt([]byte(g.appID)[:16], []byte(g.appSecret))))[:16])
	}
	return g, nil
}

func (g *gateway) has(style string) bool { return slices.Contains(g.parts, style) }

// admit checks a request and returns it in plain, or the words of the refusal.
func (g *gateway) admit(h http.Header, body []byte, now time.Time) (plain []byte, problem string) {
	switch {
	case g.has(StyleXTif):
		problem = verifyXTif(h, g.tokens, now)
	case g.has(StyleCSB):
		problem = g.verifyCSB(h, now)
	case g.has(StyleHMACSM3):
		problem = g.verifyHMACSM3(h, body, now)
	}
	if problem != "" {
		return nil, problem
	}
	if g.has(StyleMobile) {
		if body, problem = g.unwrap(body, now); problem != "" {
			return nil, problem
		}
	}
	if !g.has(StyleSM4Body) && !g.has(StyleSM2Cainfo) {
		return body, ""
	}
	var e map[string]json.RawMessage
	if json.Unmarshal(body, &e) != nil {
		return body, "" // the platform says what is wrong with it
	}
	if g.has(StyleSM4Body) {
		var sealed []byte // a text in Base64
		if json.Unmarshal(e["input"], &sealed) != nil {
			return nil, "input解密失败"
		}
		input, ok := decrypt(g.key, sealed)
		if !ok || !json.Valid(input) || string(e["enc_type"]) != `"SM4"` {
			return nil, "input解密失败"
		}
		e["input"] = input
	}
	if g.has(StyleSM2Cainfo) {
		var cainfo string
		if json.Unmarshal(e["cainfo"], &cainfo) != nil || string(e["signtype"]) != `"SM2"` || !g.verified(e["input"], cainfo) {
			return nil, "cainfo签名错误"
		}
	}
	return marshalled(e), ""
}

// aged says what is wrong with a time-stamp in units of a second or a
// millisecond.
func aged(name, stamp string, unit time.Duration, now time.Time) string {
	n, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != stamp {
		return name + "不是时间戳"
	}
	if now.UnixNano()/int64(unit)-n > int64(timestampAge/unit) {
		return name + "已超过30分钟"
	}
	return ""
}

func (g *gateway) verifyCSB(h http.Header, now time.Time) string {
	names := []string{"_api_access_key", "_api_name", "_api_timestamp", "_api_version"}
	var pairs []string
	for _, name := range append(names, "_api_signature") {
		if h.Get(name) == "" {
			return "请求头缺少" + name
		}
	}
	for _, name := range names {
		pairs = append(pairs, name+"="+h.Get(name))
	}
	if problem := aged("_api_timestamp", h.Get("_api_timestamp"), time.Millisecond, now); problem != "" {
		return problem
	}
	secret, ok := g.tokens[h.Get("_api_access_key")]
	if !ok {
		return "_api_access_key不存在"
	}
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(strings.Join(pairs, "&")))
	if !same(base64.StdEncoding.EncodeToString(mac.Sum(nil)), h.Get("_api_signature")) {
		return "_api_signature签名错误"
	}
	return ""
}

func (g *gateway) verifyHMACSM3(h http.Header, body []byte, now time.Time) string {
	for _, name := range []string{"x-ca-key", "x-ca-signature"} {
		if h.Get(name) == "" {
			return "请求头缺少" + name
		}
	}
	stamp, _, _ := strings.Cut(h.Get("x-ca-signature"), ":")
	if problem := aged("x-ca-signature", stamp, time.Second, now); problem != "" {
		return problem
	}
	secret, ok := g.tokens[h.Get("x-ca-key")]
	if !ok {
		return "x-ca-key不存在"
	}
	mac := hmac.New(sm3.New, []byte(secret))
	mac.Write(slices.Concat([]byte(stamp), []byte{'\n'}, body))
	if !same(stamp+":"+strings.ToUpper(hex.EncodeToString(mac.Sum(nil))), h.Get("x-ca-signature")) {
		return "x-ca-signature签名错误"
	}
	return ""
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// unwrap takes a request out of the mobile envelope.
func (g *gateway) unwrap(body []byte, now time.Time) ([]byte, string) {
	var e map[string]string
	if json.Unmarshal(body, &e) != nil {
		return nil, "报文不是移动平台格式"
	}
	for _, name := range []string{"appId", "encType", "signType", "version", "timestamp", "encData", "signData"} {
		if e[name] == "" {
			return nil, "报文缺少" + name
		}
	}
	if problem := aged("timestamp", e["timestamp"], time.Second, now); problem != "" {
		return nil, problem
	}
	if e["appId"] != g.appID {
		return nil, "appId不存在"
	}
	raw, err := hex.DecodeString(e["encData"])
	plain, ok := decrypt(g.key, raw)
	if err != nil || !ok || e["encData"] != strings.ToUpper(e["encData"]) {
		return nil, "encData解密失败"
	}
	signData := e["signData"]
	delete(e, "signData")
	delete(e, "encData")
	e["data"] = string(plain)
	if !g.verified([]byte(g.signText(e)), signData) {
		return nil, "signData签名错误"
	}
	return plain, ""
}

// signText is what the mobile platform signs.
func (g *gateway) signText(e map[string]string) string {
	var names []string
	for name, value := range e {
		if value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s=%s&", name, e[name])
	}
	return b.String() + "key=" + g.appSecret
}

// seal makes of the platform's answer what leaves the gateway.
func (g *gateway) seal(answer []byte) ([]byte, error) {
	if g.has(StyleSM2Cainfo) || g.has(StyleSM4Body) {
		var e map[string]json.RawMessage
		if err := json.Unmarshal(answer, &e); err != nil {
			return nil, err
		}
		if output := e["output"]; string(output) != "null" {
			if g.has(StyleSM2Cainfo) {
				cainfo, err := g.sign(output)
				if err != nil {
					return nil, err
				}
				e["cainfo"], e["signtype"] = marshalled(cainfo), marshalled("SM2")
			}
			if g.has(StyleSM4Body) {
				e["output"], e["enctype"] = marshalled(crypt(g.key, output)), marshalled("SM4")
			}
		}
		answer = marshalled(e)
	}
	if !g.has(StyleMobile) {
		return answer, nil
	}
	signData, err := g.sign([]byte(g.signText(map[string]string{
		"appId": g.appID, "encType": "SM4", "signType": "SM2", "version": "2.0.1", "code": "0", "success": "true", "data": string(answer),
	})))
	if err != nil {
		return nil, err
	}
	return marshalled(object{
		"code": 0, "success": true, "message": "", "appId": g.appID, "encType": "SM4", "signType": "SM2", "version": "2.0.1",
		"encData": strings.ToUpper(hex.EncodeToString(crypt(g.key, answer))), "signData": signData,
	}), nil
}

// marshalled writes values that always marshal; bytes become Base64.
func marshalled(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}

// ecdsaSignature is how the library gives r and s.
type ecdsaSignature struct{ R, S *big.Int }

func (g *gateway) verified(text []byte, encoded string) bool {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != 64 {
		return false
	}
	der, err := asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
	return err == nil && sm2.VerifyASN1WithSM2(g.caller, g.user, text, der)
}

func (g *gateway) sign(text []byte) (string, error) {
	der, err := g.own.Sign(rand.Reader, text, sm2.NewSM2SignerOption(true, g.user))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	var s ecdsaSignature
	if _, err := asn1.Unmarshal(der, &s); err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return base64.StdEncoding.EncodeToString(append(s.R.FillBytes(make([]byte, 32)), s.S.FillBytes(make([]byte, 32))...)), nil
}

// crypt is SM4-ECB with PKCS #7 padding.
func crypt(key, text []byte) []byte {
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil // the lengths of keys are checked at the start
	}
	n := 16 - len(text)%16
	out := slices.Concat(text, bytes.Repeat([]byte{byte(n)}, n))
	modes.NewECBEncrypter(block).CryptBlocks(out, out)
	return out
}

func decrypt(key, sealed []byte) ([]byte, bool) {
	block, err := sm4.NewCipher(key)
	if err != nil || len(sealed) == 0 || len(sealed)%16 != 0 {
		return nil, false
	}
	out := make([]byte, len(sealed))
	modes.NewECBDecrypter(block).CryptBlocks(out, sealed)
	n := int(out[len(out)-1])
	if n < 1 || n > 16 {
		return nil, false
	}
	text, pad := out[:len(out)-n], out[len(out)-n:]
	return text, bytes.Count(pad, []byte{byte(n)}) == n
}
