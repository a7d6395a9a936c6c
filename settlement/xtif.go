package settlement

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// xTif is the style of the x-tif headers: SHA-256 over time-stamp, token,
// nonce and the time-stamp again. It does not cover the body.
type xTif struct {
	paasid string
	random io.Reader
	// The token is out of reach of whoever prints the struct: fmt does not ask
	// unexported fields how they want to be printed.
	signature func(timestamp, nonce string) string
}

func newXTif(c Credentials) (Style, error) {
	if c.ID == "" || c.Secret == "" {
		return nil, errors.New("needs a paasid and a token")
	}
	token := string(c.Secret)
	return &xTif{c.ID, c.Random, func(timestamp, nonce string) string {
		return xTifSignature(timestamp, token, nonce)
	}}, nil
}

func (*xTif) Name() string { return "x-tif" }

func (x *xTif) Sign(m *Message) error {
	var nonce [16]byte
	if _, err := io.ReadFull(x.random, nonce[:]); err != nil {
		return fmt.Errorf("x-tif: nonce: %w", err)
	}
	timestamp := strconv.FormatInt(m.Now.Unix(), 10)
	n := hex.EncodeToString(nonce[:])
	m.Header.Set("x-tif-paasid", x.paasid)
	m.Header.Set("x-tif-timestamp", timestamp)
	m.Header.Set("x-tif-nonce", n)
	m.Header.Set("x-tif-signature", x.signature(timestamp, n))
	return nil
}

func xTifSignature(timestamp, token, nonce string) string {
	sum := sha256.Sum256([]byte(timestamp + token + nonce + timestamp))
	return hex.EncodeToString(sum[:])
}
