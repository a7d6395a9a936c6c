package terminal

import "strings"

// MaskName keeps the first character of a name: 张三 is 张*, 欧阳海燕 is 欧***.
func MaskName(name string) string {
	r := []rune(name)
	if len(r) == 0 {
		return ""
	}
	return string(r[0]) + strings.Repeat("*", max(1, min(len(r)-1, 8)))
}

// MaskNumber keeps the first keep characters and the last two.
func MaskNumber(number string, keep int) string {
	r := []rune(number)
	if len(r) <= keep+2 {
		return strings.Repeat("*", len(r))
	}
	return string(r[:keep]) + strings.Repeat("*", len(r)-keep-2) + string(r[len(r)-2:])
}

// MaskDate keeps the year of yyyy-MM-dd.
func MaskDate(date string) string {
	if len(date) != 10 {
		return ""
	}
	return date[:4] + "-**-**"
}
