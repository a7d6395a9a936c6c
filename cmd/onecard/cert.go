package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"

	"github.com/emmansun/gmsm/sm2"

	"onecard/card"
	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/api"
)

type summaryCmd struct {
	Reader string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
}

// Run prints what a person wants to know of the own card, as JSON: it is made
// for programs that explain it.
func (c *summaryCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	doc, err := client.Summary(a.ctx, anyReader(c.Reader))
	if err != nil {
		return err
	}
	a.json(doc)
	return nil
}

type certCmd struct {
	Show     certShowCmd     `cmd:"" help:"Show the public key for signatures and the certificate."`
	Generate certGenerateCmd `cmd:"" help:"Have the card make a new key pair for signatures."`
	Sign     certSignCmd     `cmd:"" help:"Have the card sign a file with SM2."`
	Verify   certVerifyCmd   `cmd:"" help:"Check a signature; needs no card."`
}

type certFlags struct {
	Reader   string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	PINStdin bool   `name:"pin-stdin" help:"Read the PIN of the certificate environment from standard input."`
	Pad      bool   `help:"Ask for the PIN at the PIN pad."`
}

// pin takes the PIN; nil is the pad.
func (f certFlags) pin(a *app) ([]byte, error) {
	switch {
	case f.Pad:
		return nil, nil
	case f.PINStdin:
		return a.readPIN()
	}
	return a.typePIN("请输入证书密码: ", "Certificate PIN: ")
}

func (a *app) printCertificate(c terminal.Certificate) {
	a.print("%s: %s\n", a.say("签名公钥", "Public key"), c.PublicKey)
	if c.Certificate != "" {
		a.print("%s: %s\n", a.say("证书", "Certificate"), c.Certificate)
	}
}

type certShowCmd struct {
	Reader string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
}

// Run shows key and certificate.
func (c *certShowCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	doc, err := client.Certificate(a.ctx, anyReader(c.Reader))
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(doc)
		return nil
	}
	a.printCertificate(doc)
	return nil
}

type certGenerateCmd struct{ certFlags }

// Run has the card make a key pair. The PIN goes over the Unix socket alone.
func (c *certGenerateCmd) Run(a *app) error {
	pin, err := c.pin(a)
	defer clear(pin)
	if err != nil {
		return err
	}
	doc, err := api.NewSocketClient(a.StateDir).GenerateKey(a.ctx, anyReader(c.Reader), pin)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(doc)
		return nil
	}
	a.printCertificate(doc)
	return nil
}

var errCertFile = fault.New(fault.BodyInvalid, "file cannot be used")

// maxMessage bounds what is signed: it travels in one request.
const maxMessage = 512 << 10

func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCertFile, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(text)) > limit {
		return nil, fmt.Errorf("unreadable or longer than %d bytes: %w", limit, errCertFile)
	}
	return text, nil
}

type certSignCmd struct {
	certFlags
	File string `help:"File to sign, at most 512 KiB." required:"" type:"path"`
}

// Run signs. The PIN goes over the Unix socket alone.
func (c *certSignCmd) Run(a *app) error {
	message, err := readFile(c.File, maxMessage)
	if err != nil {
		return err
	}
	pin, err := c.pin(a)
	defer clear(pin)
	if err != nil {
		return err
	}
	doc, err := api.NewSocketClient(a.StateDir).Sign(a.ctx, anyReader(c.Reader), pin, message)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(doc)
		return nil
	}
	a.print("%s\n", doc.Signature)
	return nil
}

type certVerifyCmd struct {
	File        string `help:"File that was signed." required:"" type:"path"`
	Signature   string `help:"File with the signature: base64, or the JSON of onecard cert sign --json." required:"" type:"path"`
	Certificate string `help:"Certificate of the signer, DER or PEM." type:"path" xor:"signer" required:""`
	Key         string `help:"Public key of the signer in hexadecimal: 04, x, y." xor:"signer" required:""`
}

// Run checks a signature.
func (c *certVerifyCmd) Run(a *app) error {
	message, err := readFile(c.File, maxMessage)
	if err != nil {
		return err
	}
	text, err := readFile(c.Signature, 64<<10)
	if err != nil {
		return err
	}
	var doc terminal.Signature
	if json.Unmarshal(text, &doc) == nil && doc.Signature != "" {
		text = []byte(doc.Signature)
	}
	signature, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return fmt.Errorf("signature: not base64: %w", errCertFile)
	}
	if c.Key != "" {
		key, err := parseKey(c.Key)
		if err != nil {
			return err
		}
		err = card.VerifySignature(key, message, signature)
		return a.verified(err)
	}
	der, err := readFile(c.Certificate, 64<<10)
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	}
	return a.verified(card.VerifyWithCertificate(der, message, signature))
}

func (a *app) verified(err error) error {
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(api.Verified{Verified: true})
		return nil
	}
	a.print("%s\n", a.say("签名有效", "the signature is valid"))
	return nil
}

func parseKey(text string) (*ecdsa.PublicKey, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("key: not hexadecimal: %w", errCertFile)
	}
	key, err := sm2.NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("key: not a point of SM2: %w", errCertFile)
	}
	return key, nil
}
