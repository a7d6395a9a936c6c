package pinpad

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm4"

	"onecard/fault"
)

// The wire of a serial pad. It is a profile of our own (docs/readers.md, "A serial
// PIN pad"): makers' pads each have theirs.

// ErrWire: a pad, or what is on the line, does not follow the profile, or has
// another key.
var ErrWire = fault.New(fault.NoPINPad, "the PIN pad is not understood")

// A Cipher encrypts PINs on the line.
type Cipher byte

// The ciphers.
const (
	SM4       Cipher = 'S' // GB/T 32907
	TripleDES Cipher = 'D' // two keys
)

// ParseCipher reads the word of the configuration: sm4 or 3des.
func ParseCipher(word string) (Cipher, error) {
	switch word {
	case "sm4":
		return SM4, nil
	case "3des":
		return TripleDES, nil
	}
	return 0, errors.New("sm4 or 3des expected")
}

// Types of frames: capitals to the pad, small letters back.
const (
	Hello    = 'H' // cipher, nonce; answered by a Greeting
	Greeting = 'h' // cipher, nonce, check value
	Ask      = 'E' // prompt, least and most digits, seconds; answered by Asking, then an Entry
	Asking   = 'k' // nothing
	Cancel   = 'C' // nothing; answered by an Entry
	Entry    = 'e' // outcome, PIN block where it is Entered
)

// Outcomes of an entry.
const (
	Entered     = 0
	Cancelled   = 1
	TimedOut    = 2
	WrongLength = 3
)

// Sizes in bytes.
const (
	NonceSize = 8
	CheckSize = 4
	BlockSize = 16
	maxBody   = 64
)

const frameStart = 0x02

// A Frame is one message on the line.
type Frame struct {
	Type byte
	Body []byte
}

// Bytes returns the frame as it is sent: 02, the length of type and body, both,
// and the CRC of all but the 02, most significant byte first.
func (f Frame) Bytes() []byte {
	b := append([]byte{frameStart, byte(1 + len(f.Body)), f.Type}, f.Body...)
	return binary.BigEndian.AppendUint16(b, crc(b[1:]))
}

// NextFrame takes the first whole frame out of what was received. It skips what is
// none; rest is what may still become one.
func NextFrame(received []byte) (f Frame, rest []byte, ok bool) {
	for len(received) > 0 {
		if received[0] != frameStart {
			received = received[1:]
			continue
		}
		if len(received) < 2 {
			break
		}
		n := int(received[1])
		if n < 1 || n > 1+maxBody {
			received = received[1:]
			continue
		}
		if len(received) < n+4 {
			break
		}
		if binary.BigEndian.Uint16(received[2+n:]) != crc(received[1:2+n]) {
			received = received[1:]
			continue
		}
		return Frame{received[2], received[3 : 2+n]}, received[4+n:], true
	}
	return Frame{}, received, false
}

// crc is CRC-16/CCITT-FALSE.
func crc(b []byte) uint16 {
	sum := uint16(0xFFFF)
	for _, c := range b {
		sum ^= uint16(c) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}

// TransportKey is the key that a pad and its desk share. However it is printed,
// only stars come out.
type TransportKey [16]byte

// String returns stars.
func (TransportKey) String() string { return "****************" }

// GoString returns stars.
func (TransportKey) GoString() string { return "****************" }

// Format writes stars for every verb.
func (k TransportKey) Format(s fmt.State, _ rune) { fmt.Fprint(s, k.String()) }

// MarshalText returns stars.
func (k TransportKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func block(c Cipher, key []byte) (cipher.Block, error) {
	switch c {
	case SM4:
		return sm4.NewCipher(key)
	case TripleDES:
		return des.NewTripleDESCipher(append(append(make([]byte, 0, 24), key...), key[:8]...))
	}
	return nil, fmt.Errorf("cipher %02X: %w", byte(c), ErrWire)
}

// A SessionKey is the key of one entry: both nonces, the desk's first, encrypted
// with the transport key, 3DES block by block.
type SessionKey struct{ b cipher.Block }

// NewSessionKey derives it.
func NewSessionKey(c Cipher, key TransportKey, desk, pad [NonceSize]byte) (SessionKey, error) {
	t, err := block(c, key[:])
	if err != nil {
		return SessionKey{}, err
	}
	derived := append(desk[:], pad[:]...)
	defer clear(derived)
	for i := 0; i < len(derived); i += t.BlockSize() {
		t.Encrypt(derived[i:], derived[i:])
	}
	b, err := block(c, derived)
	return SessionKey{b}, err
}

// Check returns the check value: the beginning of encrypted zeros.
func (k SessionKey) Check() [CheckSize]byte {
	zeros := make([]byte, k.b.BlockSize())
	k.b.Encrypt(zeros, zeros)
	return [CheckSize]byte(zeros)
}

// Seal returns the PIN block: C, the number of digits, the digits, A to the end of
// eight bytes, then the desk's nonce; encrypted in CBC mode with zeros before. The
// nonce shows that the block was made for this entry and is whole.
func (k SessionKey) Seal(digits []byte, desk [NonceSize]byte) ([BlockSize]byte, error) {
	var b [BlockSize]byte
	if len(digits) < 4 || len(digits) > 14 {
		return b, ErrLength
	}
	b[0] = 0xC0 | byte(len(digits))
	for i := range 14 {
		v := byte(0x0A)
		if i < len(digits) {
			if v = digits[i] - '0'; v > 9 {
				return b, ErrLength
			}
		}
		if i%2 == 0 {
			v <<= 4
		}
		b[1+i/2] |= v
	}
	copy(b[8:], desk[:])
	cipher.NewCBCEncrypter(k.b, make([]byte, k.b.BlockSize())).CryptBlocks(b[:], b[:])
	return b, nil
}

// Open returns the digits of a PIN block, as ASCII. The error wraps [ErrWire]
// where the block was made for another entry, or altered.
func (k SessionKey) Open(sealed [BlockSize]byte, desk [NonceSize]byte) ([]byte, error) {
	b := sealed
	defer clear(b[:])
	cipher.NewCBCDecrypter(k.b, make([]byte, k.b.BlockSize())).CryptBlocks(b[:], b[:])
	n := int(b[0] & 0x0F)
	if subtle.ConstantTimeCompare(b[8:], desk[:]) != 1 || b[0]&0xF0 != 0xC0 || n < 4 || n > 14 {
		return nil, fmt.Errorf("PIN block: %w", ErrWire)
	}
	digits := make([]byte, n)
	for i := range 14 {
		v := b[1+i/2]
		if i%2 == 0 {
			v >>= 4
		}
		v &= 0x0F
		switch {
		case i < n && v <= 9:
			digits[i] = '0' + v
		case i >= n && v == 0x0A:
		default:
			clear(digits)
			return nil, fmt.Errorf("PIN block: %w", ErrWire)
		}
	}
	return digits, nil
}
