package centersim

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// The signature styles of the gateway.
const (
	StyleNone = "none"  // no headers
	StyleXTif = "x-tif" // x-tif-paasid, -timestamp, -nonce, -signature
)

// timestampAge is how old a signature may be.
const timestampAge = 30 * time.Minute

// verifyXTif checks the four headers of the x-tif style and returns the words
// of the refusal, "" if all is well. The signature is the lower-case hex of
// SHA256(timestamp + token + nonce + timestamp); it does not cover the body.
// Only time-stamps of the past are bounded: no text bounds the future.
func verifyXTif(h http.Header, tokens map[string]string, now time.Time) string {
	paasid, stamp := h.Get("x-tif-paasid"), h.Get("x-tif-timestamp")
	nonce, signature := h.Get("x-tif-nonce"), h.Get("x-tif-signature")
	for name, value := range map[string]string{
		"x-tif-paasid": paasid, "x-tif-timestamp": stamp, "x-tif-nonce": nonce, "x-tif-signature": signature,
	} {
		if value == "" {
			return "请求头缺少" + name
		}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != stamp {
		return "x-tif-timestamp不是秒级时间戳"
	}
	if now.Unix()-seconds > int64(timestampAge/time.Second) {
		return "x-tif-timestamp已超过30分钟"
	}
	token, ok := tokens[paasid]
	if !ok {
		return "x-tif-paasid不存在"
	}
	sum := sha256.Sum256([]byte(stamp + token + nonce + stamp))
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(signature)) != 1 {
		return "x-tif-signature签名错误"
	}
	return ""
}

// ReadTokens reads the gateway's callers for [Config.Tokens]: one `paasid =
// "token"` a line, the quotes optional, # for a comment. The file must not be
// readable by others, as on the client's side.
func ReadTokens(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("read tokens: not a regular file")
	}
	if exposed(info) {
		return nil, errors.New("read tokens: the file is readable by others; chmod 600 it")
	}
	tokens := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		paasid, token, ok := strings.Cut(text, "=")
		paasid = strings.TrimSpace(paasid)
		token = strings.Trim(strings.TrimSpace(token), `"`)
		if !ok || paasid == "" || token == "" {
			return nil, fmt.Errorf("read tokens: line %d is not paasid = token", n)
		}
		tokens[paasid] = token
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	if len(tokens) == 0 {
		return nil, errors.New("read tokens: the file names nobody")
	}
	return tokens, nil
}
