package cardsim

import (
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// The certificate environment of 3.0 cards (card specification, sections 2 and
// 4). Where the specification has no bytes, the package comment has them.

// Its nodes: the DDF and the ADF in it.
const (
	dfACSE = "ACSE"
	dfCert = "CERT"
)

// What is proved by its two PINs, in the session and in access conditions.
const (
	userProof  = "user"
	adminProof = "admin"
)

// Files with a meaning of their own, by SFI.
const (
	signPublic     = 0x12
	signPrivate    = 0x13
	encryptPublic  = 0x14
	signCertif     = 0x18
	encryptCertif  = 0x19
	scalarSize     = 32
	publicKeySize  = 2 + 2*scalarSize
	certificateDir = 2048 // bytes of a certificate at most
)

//go:embed acse.tsv
var acseTable string

// A digestPIN is a PIN that the card knows by its digest only.
type digestPIN struct {
	digest      [16]byte // first half of SM3 over the PIN in BCD
	tries, most int
}

// certificates is what the environment keeps beside its files.
type certificates struct {
	user, admin digestPIN
}

// pinDigest returns the first 16 bytes of SM3 over a PIN in BCD.
func pinDigest(bcd []byte) [16]byte {
	sum := sm3.Sum(bcd)
	return [16]byte(sum[:16])
}

// certificateForms returns the files by SFI, from acse.tsv.
var certificateForms = sync.OnceValue(func() map[byte]*form {
	forms, err := parseCertificateForms(acseTable)
	if err != nil {
		// The table is compiled in and checked by this package's tests.
		panic("cardsim: " + err.Error())
	}
	return forms
})

func parseCertificateForms(text string) (map[byte]*form, error) {
	forms := make(map[byte]*form)
	for i, row := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		cols := strings.Split(row, "\t")
		if len(cols) != 5 {
			return nil, fmt.Errorf("acse.tsv row %d: %d columns, not 5", i+2, len(cols))
		}
		fid, err := hex.DecodeString(cols[0])
		if err != nil || len(fid) != 2 {
			return nil, fmt.Errorf("acse.tsv row %d: file identifier", i+2)
		}
		size, err := strconv.Atoi(cols[1])
		if err != nil || size < 1 || size > 1<<15 {
			return nil, fmt.Errorf("acse.tsv row %d: size", i+2)
		}
		f := &form{structure: profile.Transparent, fid: [2]byte(fid), size: size}
		for j, to := range []*profile.Access{&f.read, &f.write} {
			switch cond := cols[2+j]; cond {
			case "free":
				*to = profile.Access{{}}
			case "never":
			case userProof, adminProof:
				*to = profile.Access{{Keys: []string{cond}}}
			default:
				return nil, fmt.Errorf("acse.tsv row %d: condition %q", i+2, cond)
			}
		}
		forms[fid[1]] = f
	}
	return forms, nil
}

// certificateImage is the part of an image.
type certificateImage struct {
	user, admin []byte          // PINs in BCD
	files       map[byte][]byte // by SFI
	key         *sm2.PrivateKey // sign pair, nil for none
	scalar      []byte          // its bytes
}

func (img *Image) readCertificates(n node) error {
	ci := &certificateImage{user: []byte{0x12, 0x34, 0x56}, admin: []byte{0x12, 0x34, 0x56, 0x78}, files: make(map[byte][]byte)}
	img.certs = ci
	pin := func(to *[]byte) func(node) error {
		return func(n node) (err error) { *to, err = pinOf(n); return err }
	}
	file := func(sfi byte) func(node) error {
		return func(n node) error {
			b, err := n.bytes()
			if err == nil && len(b) > certificateDir {
				err = badImage(n.path, "has %d bytes, the file holds %d", len(b), certificateDir)
			}
			ci.files[sfi] = b
			return err
		}
	}
	return n.object(map[string]func(node) error{
		"pin": pin(&ci.user), "admin_pin": pin(&ci.admin),
		"sign": file(signCertif), "encrypt": file(encryptCertif),
		"key": func(n node) error {
			b, err := n.hex(scalarSize, scalarSize)
			if err != nil {
				return err
			}
			key, err := sm2.NewPrivateKey(b)
			if err != nil {
				return badImage(n.path, "is not an SM2 private key")
			}
			ci.key, ci.scalar = key, b
			return nil
		},
	})
}

// bytes reads "hex:..." or "base64:...".
func (n node) bytes() ([]byte, error) {
	text, err := n.string()
	if err != nil {
		return nil, err
	}
	var b []byte
	if digits, ok := strings.CutPrefix(text, rawPrefix); ok {
		b, err = hex.DecodeString(digits)
	} else if digits, ok := strings.CutPrefix(text, "base64:"); ok {
		b, err = base64.StdEncoding.DecodeString(digits)
	} else {
		err = fmt.Errorf("no prefix")
	}
	if err != nil {
		return nil, badImage(n.path, "must be hex: with hex digits or base64: with base64")
	}
	return b, nil
}

// putCertificates makes the environment.
func (m *memory) putCertificates(ci *certificateImage, limit int) {
	for _, node := range []string{dfACSE, dfCert} {
		m.setDirectory(node, referenceDirectories()[node])
	}
	m.certs.user = digestPIN{pinDigest(ci.user), limit, limit}
	m.certs.admin = digestPIN{pinDigest(ci.admin), limit, limit}
	for sfi, f := range certificateForms() {
		c := &content{data: make([]byte, f.size)}
		copy(c.data, ci.files[sfi])
		m.create(fileID{dfCert, sfi}, f, c)
	}
	if ci.key != nil {
		m.putKeyPair(ci.key, ci.scalar)
	}
}

func (m *memory) putKeyPair(key *sm2.PrivateKey, scalar []byte) {
	public := m.edit(fileID{dfCert, signPublic}).data
	public[0], public[1] = 0x01, 0x00
	key.X.FillBytes(public[2 : 2+scalarSize])
	key.Y.FillBytes(public[2+scalarSize : publicKeySize])
	copy(m.edit(fileID{dfCert, signPrivate}).data, scalar)
}

// proofOf chooses the PIN that P2 of a command names.
func (c *Card) proofOf(p2 byte) (name string, of func(*memory) *digestPIN, ok bool) {
	switch p2 {
	case 0x81:
		return userProof, func(m *memory) *digestPIN { return &m.certs.user }, true
	case 0x80:
		return adminProof, func(m *memory) *digestPIN { return &m.certs.admin }, true
	}
	return "", nil, false
}

// checkProof takes a proof of 16 bytes and, if next is not nil, puts another
// digest in the PIN's place.
func (c *Card) checkProof(p2 byte, proof, next []byte) apdu.Status {
	challenge := c.ses.challenge
	c.ses.challenge = nil
	name, of, ok := c.proofOf(p2)
	switch {
	case !ok:
		return apdu.StatusWrongP1P2
	case of(c.mem).tries == 0:
		return apdu.StatusBlocked
	case len(challenge) != sm4.BlockSize:
		return apdu.StatusNoChallenge
	}
	delete(c.ses.proved, name)
	if sw := c.store(func(m *memory) { of(m).tries-- }); !sw.OK() {
		return sw
	}
	digest := of(c.mem).digest
	cipher, err := sm4.NewCipher(digest[:])
	if err != nil {
		return apdu.StatusUnspecified
	}
	want := make([]byte, sm4.BlockSize)
	cipher.Encrypt(want, challenge)
	if !keys.Equal(want, proof) {
		return triesLeft(of(c.mem).tries)
	}
	if next != nil {
		cipher.Decrypt(digest[:], next)
	}
	sw := c.store(func(m *memory) { p := of(m); p.digest, p.tries = digest, p.most })
	if sw.OK() {
		c.ses.proved[name] = true
	}
	return sw
}

// proveUserPIN is VERIFY 00 20 01 81 (user) or 80 (administrator): the proof of
// the PIN, or nothing to ask for the tries left.
func (c *Card) proveUserPIN(cmd apdu.Command) ([]byte, apdu.Status) {
	_, of, ok := c.proofOf(cmd.P2)
	switch {
	case !ok:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) == 0 && of(c.mem).tries == 0:
		return nil, apdu.StatusBlocked
	case len(cmd.Data) == 0:
		return nil, triesLeft(of(c.mem).tries)
	case len(cmd.Data) != sm4.BlockSize:
		return nil, apdu.StatusWrongLength
	}
	return nil, c.checkProof(cmd.P2, cmd.Data, nil)
}

// changeUserPIN is CHANGE PIN 80 5E 01 81 (or 80): proof, new digest under the
// old one.
func (c *Card) changeUserPIN(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 1 {
		return nil, apdu.StatusWrongP1P2
	}
	if len(cmd.Data) != 2*sm4.BlockSize {
		return nil, apdu.StatusWrongLength
	}
	return nil, c.checkProof(cmd.P2, cmd.Data[:sm4.BlockSize], cmd.Data[sm4.BlockSize:])
}

// resetUserPIN is 80 24 01 81: the administrator gives the user a new PIN.
func (c *Card) resetUserPIN(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case c.ses.df != dfCert:
		return nil, apdu.StatusConditions
	case cmd.P1 != 1 || cmd.P2 != 0x81:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) != sm4.BlockSize:
		return nil, apdu.StatusWrongLength
	case !c.ses.proved[adminProof]:
		return nil, apdu.StatusSecurity
	}
	admin := c.mem.certs.admin.digest
	cipher, err := sm4.NewCipher(admin[:])
	if err != nil {
		return nil, apdu.StatusUnspecified
	}
	var digest [16]byte
	cipher.Decrypt(digest[:], cmd.Data)
	delete(c.ses.proved, userProof)
	return nil, c.store(func(m *memory) { m.certs.user.digest, m.certs.user.tries = digest, m.certs.user.most })
}

// pairTemplate is the data of the command that makes a key pair: where the
// public and the private key go.
var pairTemplate = []byte{0xC0, 0x02, 0x00, signPublic, 0xC2, 0x02, 0x00, signPrivate}

// makeKeyPair is 80 40 00 00.
func (c *Card) makeKeyPair(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case c.ses.df != dfCert:
		return nil, apdu.StatusConditions
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) != len(pairTemplate):
		return nil, apdu.StatusWrongLength
	case !slices.Equal(cmd.Data, pairTemplate):
		return nil, apdu.StatusWrongData
	case !c.ses.proved[userProof]:
		return nil, apdu.StatusSecurity
	}
	key, err := sm2.GenerateKey(c.random)
	if err != nil {
		return nil, apdu.StatusUnspecified
	}
	raw, err := key.ECDH()
	if err != nil {
		return nil, apdu.StatusUnspecified
	}
	return nil, c.store(func(m *memory) { m.putKeyPair(key, raw.Bytes()) })
}

// readPublicKey is 80 C9 82 00: X and Y of the key in 0012 or 0014.
func (c *Card) readPublicKey(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case c.ses.df != dfCert:
		return nil, apdu.StatusConditions
	case cmd.P1 != 0x82 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) != 2:
		return nil, apdu.StatusWrongLength
	case cmd.Data[0] != 0 || cmd.Data[1] != signPublic && cmd.Data[1] != encryptPublic:
		return nil, apdu.StatusKeyNotFound
	}
	f := c.mem.files[fileID{dfCert, cmd.Data[1]}]
	if f == nil || len(f.data) != publicKeySize || f.data[0] != 0x01 {
		return nil, apdu.StatusKeyNotFound
	}
	return slices.Clone(f.data[2:]), apdu.StatusOK
}

// sign is 00 2A 9E 9A: the signature r, s of a digest of 32 bytes.
func (c *Card) sign(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case c.ses.df != dfCert:
		return nil, apdu.StatusConditions
	case cmd.P1 != 0x9E || cmd.P2 != 0x9A:
		return nil, apdu.StatusWrongP1P2
	case len(cmd.Data) != scalarSize:
		return nil, apdu.StatusWrongLength
	case !c.ses.proved[userProof]:
		return nil, apdu.StatusSecurity
	}
	f := c.mem.files[fileID{dfCert, signPrivate}]
	if f == nil {
		return nil, apdu.StatusKeyNotFound
	}
	key, err := sm2.NewPrivateKey(f.data)
	if err != nil {
		return nil, apdu.StatusKeyNotFound // all zeros: no key yet
	}
	r, s, err := sm2.Sign(c.random, &key.PrivateKey, cmd.Data)
	if err != nil {
		return nil, apdu.StatusUnspecified
	}
	return append(scalar(r), scalar(s)...), apdu.StatusOK
}

func scalar(n *big.Int) []byte { return n.FillBytes(make([]byte, scalarSize)) }
