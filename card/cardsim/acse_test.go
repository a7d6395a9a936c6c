package cardsim

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

const (
	selectACSE = "00A404000C504B492EC9E7BBE1B1A3D5CF"
	selectCERT = "00A404000C53532E434552542E41444631"
)

func withCertificates(m map[string]any) {
	m["certificates"] = map[string]any{"sign": "hex:308201", "encrypt": "base64:MIIC"}
}

func enterCertificates(d *desk) {
	d.ok(selectACSE)
	d.ok(selectCERT)
}

// proofOfPIN is what the holder's software computes: apart from the card's code.
func proofOfPIN(t testing.TB, pin string, challenge []byte) []byte {
	t.Helper()
	if len(pin)%2 == 1 {
		pin += "F"
	}
	bcd, err := hex.DecodeString(pin)
	if err != nil {
		t.Fatal(err)
	}
	sum := sm3.Sum(bcd)
	c, err := sm4.NewCipher(sum[:16])
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 16)
	c.Encrypt(out, challenge)
	return out
}

func (d *desk) certificateProof(p2 byte, pin string) string {
	challenge := d.step("0084000010")
	return fmt.Sprintf("002001%02X10%X", p2, proofOfPIN(d.t, pin, challenge[:16]))
}

func TestCertificates(t *testing.T) {
	d := newDesk(t, "3.0", withCertificates)
	d.want(selectACSE, "6F0E840C504B492EC9E7BBE1B1A3D5CF9000")
	d.want(selectCERT, "6F0E840C53532E434552542E414446319000")
	const pair = "8040000008C0020012C2020013"
	sign := "002A9E9A20" + strings.Repeat("5A", 32)
	d.want(pair, "6982")
	d.want(sign, "6982")
	d.want("00200181", "63C6")
	d.want("00200182", "6A86")
	d.want("0020018110"+zeros(16), "6984")
	d.ok("0084000008")
	d.want("0020018110"+zeros(16), "6984") // the challenge has to have 16 bytes
	d.want(d.certificateProof(0x81, "654321"), "63C5")
	d.want(d.certificateProof(0x81, "123456"), "9000")
	d.want("00200181", "63C6")
	d.want(sign, "6A88") // no key yet
	d.want("80C98200020012", "6A88")
	d.want("8040000008C0020012C2020014", "6A80")
	d.want("8040010008C0020012C2020013", "6A86")
	d.want("8040000007C0020012C20200", "6700")
	d.want(pair, "9000")

	// What the card signs, SM2 itself verifies with the public key.
	xy := d.ok("80C98200020012")
	public, err := sm2.NewPublicKey(append([]byte{4}, xy...))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := sm2.CalculateSM2Hash(public, []byte("a declaration"), nil)
	if err != nil {
		t.Fatal(err)
	}
	rs := d.ok(fmt.Sprintf("002A9E9A20%X", digest))
	if len(rs) != 64 || !sm2.Verify(public, digest, new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:])) {
		t.Errorf("%X", rs)
	}
	digest[0] ^= 1
	if sm2.Verify(public, digest, new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:])) {
		t.Error("any signature will do")
	}
	d.want("002A9E9A1F"+zeros(31), "6700")
	d.want("002A9E9B20"+zeros(32), "6A86")

	// Files: the keys as stored, never the private one; certificates.
	d.ok("00A40200020012")
	if b := d.ok("00B0000042"); len(b) != 66 || hex.EncodeToString(b) != "0100"+hex.EncodeToString(xy) {
		t.Errorf("%X", b)
	}
	d.ok("00A40200020013")
	d.want("00B0000020", "6982")
	d.want("00A4020002EF12", "6A82")
	d.ok("00A40200020018")
	if b := d.ok("00B0000004"); hex.EncodeToString(b) != "30820100" {
		t.Errorf("%X", b)
	}
	if b := d.ok("00B007FF00"); len(b) != 1 { // the last of 2048
		t.Errorf("%X", b)
	}
	d.want("00B0080000", "6B00")
	d.want("00D6000002AABB", "6982")
	d.want(d.certificateProof(0x80, "12345678"), "9000")
	d.want("00D6000002AABB", "9000")
	d.want("00B0000004", "AABB01009000")
	d.ok(selectSSSE) // the proofs are those of the directory
	d.ok(selectCERT)
	d.want("00D6000002AABB", "6986")
	d.want("00D6980002AABB", "6982")
	d.want("80C98200020014", "6A88")
	d.want("80C98200020013", "6A88")
	d.want("80C98100020012", "6A86")
	d.want("80C98200010012", "6700")

	// Elsewhere these commands have no meaning.
	d.ok(selectSSSE)
	d.want(pair, "6985")
	d.want(sign, "6985")
	d.want("80C98200020012", "6985")
	plain := newDesk(t, "3.0", func(m map[string]any) { delete(m, "certificates") })
	plain.want(selectACSE, "6A82")
}

func TestCertificatePIN(t *testing.T) {
	d := newDesk(t, "3.0", withCertificates)
	enterCertificates(d)
	change := func(old, next string) string {
		challenge := d.ok("0084000010")
		digest, wrapped := sm3.Sum(bcdOf(t, next)), make([]byte, 16)
		former := sm3.Sum(bcdOf(t, old))
		c, err := sm4.NewCipher(former[:16])
		if err != nil {
			t.Fatal(err)
		}
		c.Encrypt(wrapped, digest[:16])
		return fmt.Sprintf("805E018120%X%X", proofOfPIN(t, old, challenge), wrapped)
	}
	d.want(change("000000", "246802"), "63C5")
	d.want(change("123456", "246802"), "9000")
	d.want(d.certificateProof(0x81, "123456"), "63C5")
	d.want(d.certificateProof(0x81, "246802"), "9000")
	d.want("805E018110"+zeros(16), "6700")
	for _, left := range []string{"63C5", "63C4", "63C3", "63C2", "63C1", "63C0", "6983", "6983"} {
		d.want(d.certificateProof(0x81, "111111"), left)
	}
	d.want("00200181", "6983")
	d.want(d.certificateProof(0x81, "246802"), "6983")

	// The administrator gives a new one.
	reset := func() string {
		digest, wrapped := sm3.Sum(bcdOf(t, "135791")), make([]byte, 16)
		admin := sm3.Sum(bcdOf(t, "12345678"))
		c, err := sm4.NewCipher(admin[:16])
		if err != nil {
			t.Fatal(err)
		}
		c.Encrypt(wrapped, digest[:16])
		return fmt.Sprintf("8024018110%X", wrapped)
	}
	d.want(reset(), "6982")
	d.want(d.certificateProof(0x80, "12345678"), "9000")
	d.want("8024018010"+zeros(16), "6A86")
	d.want("802401810F"+zeros(15), "6700")
	d.want(reset(), "9000")
	d.want(d.certificateProof(0x81, "135791"), "9000")
	d.want("0020000003123456", "6985") // the card's PIN belongs to SSSE
}

func bcdOf(t testing.TB, digits string) []byte {
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCertificateTable(t *testing.T) {
	if n := len(certificateForms()); n != 6 {
		t.Error(n)
	}
	for _, bad := range []string{"h\n0012\t1\tfree\tfree", "h\n00\t1\tfree\tfree\tx", "h\n0012\t0\tfree\tfree\tx", "h\n0012\t1\tsometimes\tfree\tx"} {
		if _, err := parseCertificateForms(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}
