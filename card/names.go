package card

import (
	"bytes"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// Text on the card is GBK. It is read as GB18030, its superset, because rare
// characters of names stand there in four bytes (card specification, section 3).

var (
	errText       = errors.New("not GB18030 text")
	errCharacters = errors.New("characters that the card's text cannot hold")
	errTooLong    = errors.New("too long")
)

// trimPadding removes the filling on the right: 00, on 1.0 cards 20, and FF of
// records that were never written. None of them ends a GB18030 character.
func trimPadding(b []byte) []byte {
	// Not bytes.TrimRight: its cut set is UTF-8.
	for len(b) > 0 {
		switch b[len(b)-1] {
		case 0x00, 0x20, 0xFF:
			b = b[:len(b)-1]
		default:
			return b
		}
	}
	return b
}

// decodeText reads GB18030 without its padding. With an error, what could be
// read before the fault is returned, too: an address that a writer cut inside
// a character is still worth showing.
func decodeText(b []byte) (string, error) {
	b = trimPadding(b)
	out, err := simplifiedchinese.GB18030.NewDecoder().Bytes(b)
	if err != nil {
		return "", errText
	}
	s := string(out)
	for i, r := range s {
		// The decoder puts U+FFFD where it finds no character.
		if r == utf8.RuneError || unicode.IsControl(r) {
			return s[:i], errText
		}
	}
	return s, nil
}

// encodeText writes text as GBK, characters outside GBK as GB18030. It refuses
// what would not read back the same.
func encodeText(s string) ([]byte, error) {
	b, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(s))
	if err != nil {
		return nil, errCharacters
	}
	if back, err := decodeText(b); err != nil || back != s {
		return nil, errCharacters
	}
	return b, nil
}

// The two records of a name: 09 and its extension 4E (card specification,
// section 3).
const (
	nameLength      = 30
	extensionLength = 20
)

// JoinName reads a name from the values of the records 09 and 4E (nil where a
// card has no 4E). The bytes are joined before they are decoded, because a
// character may be cut between the records; only the padding of the end is
// removed. With an error, what could be read is returned, too.
func JoinName(name, extension []byte) (string, error) {
	joined := make([]byte, 0, len(name)+len(extension))
	joined = append(joined, name...)
	joined = append(joined, extension...)
	joined = trimPadding(joined)
	// A writer that cut before a character left 00 at the end of 09. No
	// GB18030 character holds 00.
	joined = bytes.ReplaceAll(joined, []byte{0}, nil)
	return decodeText(joined)
}

// SplitName writes a name into the values of the records 09 (30 bytes) and 4E
// (20 bytes), padded with 00. A name longer than both is refused. The cut falls
// inside a character where no character ends at 30 bytes: readers join the
// bytes first, and padding in the middle would confuse those that do only that.
func SplitName(s string) (name, extension []byte, err error) {
	b, err := encodeText(strings.TrimSpace(s))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > nameLength+extensionLength {
		return nil, nil, errTooLong
	}
	padded := make([]byte, nameLength+extensionLength)
	copy(padded, b)
	return padded[:nameLength:nameLength], padded[nameLength:], nil
}
