package keys

import (
	"crypto/cipher"
	"fmt"
)

// Secure messaging (card specification, section 5): the session is of STK, or
// of the DF's STKDFxx, and the card's last challenge. The card accepts it as
// CLA 04 or 84.

// A Header is the first four bytes of a command: CLA, INS, P1, P2.
type Header [4]byte

// The headers of the two commands that are always secured.
var (
	UnblockPINHeader = Header{0x84, 0x24, 0x00, 0x00}
	ReloadPINHeader  = Header{0x84, 0x24, 0x00, 0x01}
)

const maxLc = 255

// Encrypt returns data under ECB: one length byte, data, and 80 00.. up to a
// full block, nothing where the block is full already. Data of more than 255
// bytes give [ErrTooLong].
func (s *Session) Encrypt(data []byte) ([]byte, error) {
	if len(data) > maxLc {
		return nil, fmt.Errorf("encrypt: %w: %d bytes", ErrTooLong, len(data))
	}
	n := s.algorithm.blockSize()
	size := (1 + len(data) + n - 1) / n * n
	out := make([]byte, size)
	out[0] = byte(len(data))
	copy(out[1:], data)
	if 1+len(data) < size {
		out[1+len(data)] = 0x80
	}
	ecb(s.block(), out, cipher.Block.Encrypt)
	return out, nil
}

// Decrypt undoes Encrypt. Anything that Encrypt cannot have made gives
// [ErrPadding].
func (s *Session) Decrypt(encrypted []byte) ([]byte, error) {
	n := s.algorithm.blockSize()
	if len(encrypted) == 0 || len(encrypted)%n != 0 || len(encrypted) > 1+maxLc+n {
		return nil, fmt.Errorf("decrypt: %w: %d bytes", ErrPadding, len(encrypted))
	}
	out := make([]byte, len(encrypted))
	copy(out, encrypted)
	ecb(s.block(), out, cipher.Block.Decrypt)
	end := 1 + int(out[0])
	if end > len(out) || len(out)-end >= n {
		clear(out)
		return nil, fmt.Errorf("decrypt: %w", ErrPadding)
	}
	for i, b := range out[end:] {
		if want := byte(0x80); i == 0 && b != want || i > 0 && b != 0 {
			clear(out)
			return nil, fmt.Errorf("decrypt: %w", ErrPadding)
		}
	}
	return out[1:end], nil
}

// EncryptBlocks encrypts whole blocks (8 bytes DES, 16 SM4) under ECB, in place,
// as a PSAM does it for its terminal. Other lengths give [ErrPadding].
func (s *Session) EncryptBlocks(data []byte) error {
	if n := s.algorithm.blockSize(); len(data) == 0 || len(data)%n != 0 {
		return fmt.Errorf("encrypt blocks: %w: %d bytes", ErrPadding, len(data))
	}
	ecb(s.block(), data, cipher.Block.Encrypt)
	return nil
}

func ecb(c cipher.Block, data []byte, do func(cipher.Block, []byte, []byte)) {
	for n := c.BlockSize(); len(data) > 0; data = data[n:] {
		do(c, data[:n], data[:n])
	}
}

// Secure returns the whole command: header, Lc, data, MAC. The MAC covers the
// header, Lc (which counts the MAC) and data. Data of more than 251 bytes give
// [ErrTooLong].
func (s *Session) Secure(h Header, data []byte) ([]byte, error) {
	lc := len(data) + MACSize
	if lc > maxLc {
		return nil, fmt.Errorf("secure command: %w: %d bytes", ErrTooLong, len(data))
	}
	command := make([]byte, 0, len(h)+1+lc)
	command = append(command, h[:]...)
	command = append(command, byte(lc))
	command = append(command, data...)
	mac := s.MAC(command)
	return append(command, mac[:]...), nil
}

// Open checks the MAC at the end of the body (all data bytes, as Lc counts
// them) of a secured command and returns the data before it, which share the
// body's memory. A body that is too short, too long or has another MAC gives
// [ErrMAC].
func (s *Session) Open(h Header, body []byte) ([]byte, error) {
	if len(body) < MACSize || len(body) > maxLc {
		return nil, fmt.Errorf("open secured command: %w: %d bytes", ErrMAC, len(body))
	}
	data := body[:len(body)-MACSize]
	signed := make([]byte, 0, len(h)+1+len(data))
	signed = append(signed, h[:]...)
	signed = append(signed, byte(len(body)))
	signed = append(signed, data...)
	mac := s.MAC(signed)
	if !Equal(mac[:], body[len(data):]) {
		return nil, fmt.Errorf("open secured command: %w", ErrMAC)
	}
	return data, nil
}

// UnblockPIN returns the whole command PIN UNBLOCK: 9 bytes.
func (s *Session) UnblockPIN() ([]byte, error) { return s.Secure(UnblockPINHeader, nil) }

// ReloadPIN returns the whole command RELOAD PIN for a new PIN in the form of
// VERIFY: BCD, an odd last nibble F, 2 to 8 bytes. Lc is 0C for DES up to 14
// digits, otherwise 14 hex.
func (s *Session) ReloadPIN(bcd []byte) ([]byte, error) {
	if len(bcd) < 2 || len(bcd) > 8 {
		return nil, fmt.Errorf("reload PIN: %w: PIN of %d bytes", ErrSubject, len(bcd))
	}
	encrypted, err := s.Encrypt(bcd)
	if err != nil {
		return nil, fmt.Errorf("reload PIN: %w", err)
	}
	return s.Secure(ReloadPINHeader, encrypted)
}
