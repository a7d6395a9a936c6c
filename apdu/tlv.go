package apdu

import "fmt"

// A TLV is a simple TLV data object (ISO 7816-4, 5.2.1), as the records of a
// social security card are: a tag of one byte, 01..FE, and up to 65535 bytes of
// value.
type TLV struct {
	Tag   byte
	Value []byte
}

// ErrTLV is wrapped by the errors for bytes that are no TLV. It wraps
// [ErrGarbage].
var ErrTLV = fmt.Errorf("%w: malformed TLV", ErrGarbage)

// ParseSimpleTLV decodes a sequence of simple TLVs: one record, or all records
// of a file from a READ RECORD of mode 5. Bytes 00 and FF where a tag should be
// are padding and skipped. Values are parts of b, not copies. The error wraps
// [ErrTLV]; what was whole before it is returned with it.
func ParseSimpleTLV(b []byte) ([]TLV, error) {
	var list []TLV
	for i := 0; i < len(b); {
		tag := b[i]
		i++
		if tag == 0x00 || tag == 0xFF {
			continue
		}
		if i >= len(b) {
			return list, fmt.Errorf("%w: tag %02X without length", ErrTLV, tag)
		}
		n := int(b[i])
		i++
		if n == 0xFF {
			if len(b)-i < 2 {
				return list, fmt.Errorf("%w: tag %02X, length cut short", ErrTLV, tag)
			}
			n = int(b[i])<<8 | int(b[i+1])
			i += 2
		}
		if n > len(b)-i {
			return list, fmt.Errorf("%w: tag %02X, length %d, %d bytes follow", ErrTLV, tag, n, len(b)-i)
		}
		list = append(list, TLV{tag, b[i : i+n : i+n]})
		i += n
	}
	return list, nil
}

// AppendSimpleTLV encodes t after dst: one length byte up to 254 bytes of value,
// FF and two from there. The error wraps [ErrTLV]: tag 00 or FF, or a value of
// more than 65535 bytes.
func AppendSimpleTLV(dst []byte, t TLV) ([]byte, error) {
	n := len(t.Value)
	switch {
	case t.Tag == 0x00 || t.Tag == 0xFF:
		return dst, fmt.Errorf("%w: tag %02X is not a tag", ErrTLV, t.Tag)
	case n > 0xFFFF:
		return dst, fmt.Errorf("%w: tag %02X, %d bytes of value", ErrTLV, t.Tag, n)
	case n < 0xFF:
		dst = append(dst, t.Tag, byte(n))
	default:
		dst = append(dst, t.Tag, 0xFF, byte(n>>8), byte(n))
	}
	return append(dst, t.Value...), nil
}
