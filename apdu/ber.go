package apdu

import "fmt"

// A BER is a BER-TLV data object (ISO 7816-4, 5.2.2) with the tag's bytes as one
// number: 0x6F, 0x9F0C. Value is a part of the parsed bytes, not a copy.
type BER struct {
	Tag   uint32
	Value []byte
}

// ParseBER decodes a sequence of BER-TLV data objects, one level deep: tags of up
// to 4 bytes, definite lengths of up to 65535. Bytes 00 and FF between objects
// are padding and skipped. The error wraps [ErrTLV].
func ParseBER(b []byte) ([]BER, error) {
	var list []BER
	for len(b) > 0 {
		if b[0] == 0x00 || b[0] == 0xFF {
			b = b[1:]
			continue
		}
		o, rest, err := cutBER(b)
		if err != nil {
			return nil, err
		}
		list, b = append(list, o), rest
	}
	return list, nil
}

// cutBER decodes the object at the start of b, which is not empty.
func cutBER(b []byte) (o BER, rest []byte, err error) {
	tag, i := uint32(b[0]), 1
	if b[0]&0x1F == 0x1F {
		for more := true; more; i++ {
			if i >= len(b) {
				return o, nil, fmt.Errorf("%w: tag cut short", ErrTLV)
			}
			if i == 4 {
				return o, nil, fmt.Errorf("%w: tag longer than 4 bytes", ErrTLV)
			}
			tag = tag<<8 | uint32(b[i])
			more = b[i]&0x80 != 0
		}
	}
	if i >= len(b) {
		return o, nil, fmt.Errorf("%w: tag %X without length", ErrTLV, tag)
	}
	n := int(b[i])
	i++
	switch {
	case n < 0x80:
	case n == 0x81 && len(b)-i >= 1:
		n = int(b[i])
		i++
	case n == 0x82 && len(b)-i >= 2:
		n = int(b[i])<<8 | int(b[i+1])
		i += 2
	default:
		return o, nil, fmt.Errorf("%w: tag %X, length field %02X", ErrTLV, tag, n)
	}
	if n > len(b)-i {
		return o, nil, fmt.Errorf("%w: tag %X, length %d, %d bytes follow", ErrTLV, tag, n, len(b)-i)
	}
	return BER{tag, b[i : i+n : i+n]}, b[i+n:], nil
}

// Find returns the first object inside b that the tags lead to, level by level:
//
//	algorithm, ok := template.Find(0xA5, 0x9F0C, 0x86)
//
// Every tag of the path but the last is opened, constructed by its bits or not:
// the cards use 9F0C as a container. What cannot be opened is not there.
func (b BER) Find(path ...uint32) (BER, bool) {
	for _, tag := range path {
		inner, err := ParseBER(b.Value)
		if err != nil {
			return BER{}, false
		}
		found := false
		for _, o := range inner {
			if o.Tag == tag {
				b, found = o, true
				break
			}
		}
		if !found {
			return BER{}, false
		}
	}
	return b, true
}

// An FCI is the file control information with which a card answers SELECT of
// an application (ISO 7816-4, 5.3.3; card specification, section 1):
//
//	6F { 84 name, A5 { 88 SFI, 9F0C { 86 algorithm } } }
//
// What the card leaves out is zero.
type FCI struct {
	Name      []byte // 84: the application's name (AID), 1 to 16 bytes
	Label     []byte // 50 in A5: the application's label
	SFI       byte   // 88 in A5: short identifier of the directory file, 1 to 30
	Algorithm byte   // 86 in 9F0C in A5: 01 DES, 02 SSF33, 03 SM4; 0 where the card does not say
	Issuer    []byte // 9F0C in A5, whole: the issuer's own data
}

// ParseFCI decodes the answer to SELECT. Its fields are parts of b, not copies.
// The error wraps [ErrTLV]: no 6F, or one that is not TLV inside.
func ParseFCI(b []byte) (FCI, error) {
	var f FCI
	list, err := ParseBER(b)
	if err != nil {
		return f, fmt.Errorf("FCI: %w", err)
	}
	if len(list) == 0 || list[0].Tag != 0x6F {
		return f, fmt.Errorf("FCI: %w: no template 6F", ErrTLV)
	}
	template := list[0]
	inner, err := ParseBER(template.Value)
	if err != nil {
		return f, fmt.Errorf("FCI: %w", err)
	}
	for _, o := range inner {
		switch o.Tag {
		case 0x84:
			f.Name = o.Value
		case 0xA5:
			if err := f.proprietary(o); err != nil {
				return FCI{}, fmt.Errorf("FCI: %w", err)
			}
		}
	}
	return f, nil
}

func (f *FCI) proprietary(template BER) error {
	inner, err := ParseBER(template.Value)
	if err != nil {
		return err
	}
	for _, o := range inner {
		switch {
		case o.Tag == 0x50:
			f.Label = o.Value
		case o.Tag == 0x88 && len(o.Value) == 1:
			f.SFI = o.Value[0]
		case o.Tag == 0x9F0C:
			f.Issuer = o.Value
			// The issuer's data need not be TLV: then it names no algorithm.
			if a, ok := o.Find(0x86); ok && len(a.Value) == 1 {
				f.Algorithm = a.Value[0]
			}
		}
	}
	return nil
}
