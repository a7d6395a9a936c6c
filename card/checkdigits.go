package card

// ValidIDNumber reports whether s has the form of a social security number: 18
// characters, of which the last is the check character of GB 11643 (ISO 7064,
// MOD 11-2) over the others.
func ValidIDNumber(s string) bool {
	if len(s) != 18 || !allDigits(s[:17]) {
		return false
	}
	sum := 0
	for i := range 17 {
		// The weight of a place is a power of two modulo 11.
		sum += int(s[i]-'0') * (1 << (17 - i) % 11)
	}
	return s[17] == "10X98765432"[sum%11]
}

// CardNumberCheck returns the check character of a card number's first eight
// characters, digits or A to Z (card specification, section 3), 0 where they
// are something else. Numbers that are read are never judged by it: real cards
// exist that do not satisfy it.
func CardNumberCheck(body string) byte {
	if len(body) != 8 {
		return 0
	}
	sum := 0
	for i, w := range []int{3, 7, 9, 10, 5, 8, 4, 2} {
		c := body[i]
		switch {
		case c >= '0' && c <= '9':
			sum += w * int(c-'0')
		case c >= 'A' && c <= 'Z':
			sum += w * (int(c-'A') + 10)
		default:
			return 0
		}
	}
	switch c := 11 - sum%11; c {
	case 10:
		return 'X'
	case 11:
		return '0'
	default:
		return byte('0' + c)
	}
}
