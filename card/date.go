package card

import (
	"errors"
	"fmt"
	"time"
)

// A Date is a civil date: no time zone, nothing to convert. The zero Date is
// the unset one; it is left out of JSON (with omitzero) and prints as "".
type Date struct{ Year, Month, Day int }

// errDate is the problem of a date that does not exist, without the date.
var errDate = errors.New("not a date")

// ParseDate reads yyyy-MM-dd, or "" as the unset date.
func ParseDate(s string) (Date, error) {
	if s == "" {
		return Date{}, nil
	}
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return Date{}, errDate
	}
	return dateOf(s[:4] + s[5:7] + s[8:])
}

// dateOf reads CCYYMMDD and refuses days that no calendar has.
func dateOf(digits string) (Date, error) {
	if len(digits) != 8 || !allDigits(digits) {
		return Date{}, errDate
	}
	d := Date{atoi(digits[:4]), atoi(digits[4:6]), atoi(digits[6:])}
	if !d.valid() {
		return Date{}, errDate
	}
	return d, nil
}

func (d Date) valid() bool {
	if d.Year < 1 || d.Year > 9999 || d.Month < 1 || d.Month > 12 || d.Day < 1 {
		return false
	}
	return d.Day <= time.Date(d.Year, time.Month(d.Month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// IsZero reports whether the date is unset.
func (d Date) IsZero() bool { return d == Date{} }

// String returns yyyy-MM-dd, "" for the unset date.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	if d.Year < 0 || d.Year > 9999 || d.Month < 0 || d.Month > 99 || d.Day < 0 || d.Day > 99 {
		return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) // no date, but the caller's own
	}
	b := [10]byte{4: '-', 7: '-'}
	putDigits(b[0:4], d.Year)
	putDigits(b[5:7], d.Month)
	putDigits(b[8:10], d.Day)
	return string(b[:])
}

// putDigits fills b with the last decimal digits of n.
func putDigits(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

func (d Date) digits() string { return fmt.Sprintf("%04d%02d%02d", d.Year, d.Month, d.Day) }

// Before reports whether d is an earlier day than e. Ask only of set dates.
func (d Date) Before(e Date) bool {
	if d.Year != e.Year {
		return d.Year < e.Year
	}
	if d.Month != e.Month {
		return d.Month < e.Month
	}
	return d.Day < e.Day
}

// MarshalText returns what String does.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDate] reads.
func (d *Date) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDate(string(b))
	return err
}

// A Month is CCYYMM. The zero Month is the unset one.
type Month struct{ Year, Month int }

// IsZero reports whether the month is unset.
func (m Month) IsZero() bool { return m == Month{} }

// String returns yyyy-MM, "" for the unset month.
func (m Month) String() string {
	if m.IsZero() {
		return ""
	}
	return fmt.Sprintf("%04d-%02d", m.Year, m.Month)
}

// MarshalText returns what String does.
func (m Month) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func monthOf(digits string) (Month, error) {
	if len(digits) != 6 || !allDigits(digits) {
		return Month{}, errors.New("not a month")
	}
	m := Month{atoi(digits[:4]), atoi(digits[4:])}
	if m.Year < 1 || m.Month < 1 || m.Month > 12 {
		return Month{}, errors.New("not a month")
	}
	return m, nil
}

// A Time is a civil date and time of day, as the terminal's clock had it (in
// China Standard Time). The zero Time is the unset one.
type Time struct {
	Date
	Hour, Minute, Second int
}

// IsZero reports whether the time is unset.
func (t Time) IsZero() bool { return t == Time{} }

// String returns yyyy-MM-dd HH:mm:ss, "" for the unset time.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s %02d:%02d:%02d", t.Date, t.Hour, t.Minute, t.Second)
}

// MarshalText returns what String does.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what String returns.
func (t *Time) UnmarshalText(b []byte) (err error) {
	s := string(b)
	if s == "" {
		*t = Time{}
		return nil
	}
	if len(s) != 19 || s[4] != '-' || s[7] != '-' || s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return errDate
	}
	*t, err = timeOf(s[:4] + s[5:7] + s[8:10] + s[11:13] + s[14:16] + s[17:])
	return err
}

func timeOf(digits string) (Time, error) {
	errTime := errors.New("not a time")
	if len(digits) != 14 || !allDigits(digits) {
		return Time{}, errTime
	}
	d, err := dateOf(digits[:8])
	if err != nil {
		return Time{}, errTime
	}
	t := Time{d, atoi(digits[8:10]), atoi(digits[10:12]), atoi(digits[12:])}
	if t.Hour > 23 || t.Minute > 59 || t.Second > 59 {
		return Time{}, errTime
	}
	return t, nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// atoi reads digits that allDigits has seen.
func atoi(s string) int {
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n
}
