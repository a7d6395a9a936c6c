package hsm

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"onecard/card/keys"
)

// An Info is what an HSM says of itself.
type Info struct {
	// Product names product and firmware, for people.
	Product string

	// OldestVersion and NewestVersion are the protocol versions it speaks.
	OldestVersion, NewestVersion byte

	// TestKeys says that its root keys are the test keys, which everybody
	// knows: it proves nothing about a card.
	TestKeys bool

	// Time is its clock, to the millisecond, in UTC.
	Time time.Time

	// Algorithms are those that it computes.
	Algorithms []keys.Algorithm

	// MaxRequest is the largest request that it accepts, in bytes; MaxInFlight
	// the number of requests of one connection that it works on at a time.
	MaxRequest, MaxInFlight int

	// Keys are the names and versions of the root keys that it holds.
	Keys []keys.Held

	// Address is where it answered. It does not travel.
	Address string
}

// Fields returns the fields of a status response.
func (i Info) Fields() []Field {
	var flags byte
	if i.TestKeys {
		flags |= FlagTestKeys
	}
	algorithms := make([]byte, len(i.Algorithms))
	for n, a := range i.Algorithms {
		algorithms[n] = byte(a)
	}
	fields := []Field{
		{TagProduct, []byte(i.Product)},
		{TagVersions, []byte{i.OldestVersion, i.NewestVersion}},
		{TagFlags, []byte{flags}},
		{TagTime, binary.BigEndian.AppendUint64(nil, uint64(i.Time.UnixMilli()))},
		{TagAlgorithms, algorithms},
		{TagLimits, binary.BigEndian.AppendUint16(
			binary.BigEndian.AppendUint32(nil, uint32(i.MaxRequest)), uint16(i.MaxInFlight))},
	}
	for _, held := range i.Keys {
		var versions byte
		for _, v := range held.Versions {
			versions |= 1 << (v - 1)
		}
		fields = append(fields, Field{TagKeyHeld, append([]byte{versions}, held.Name...)})
	}
	return fields
}

// ParseInfo reads a status response that [CheckResponse] accepted. The error is
// a [FormError].
func ParseInfo(f *Frame) (Info, error) {
	var i Info
	for _, field := range f.Fields {
		v := field.Value
		switch field.Tag {
		case TagProduct:
			i.Product = printable(v)
		case TagVersions:
			i.OldestVersion, i.NewestVersion = v[0], v[1]
		case TagFlags:
			i.TestKeys = v[0]&FlagTestKeys != 0
		case TagTime:
			ms := binary.BigEndian.Uint64(v)
			if ms > math.MaxInt64/int64Million {
				return Info{}, &FormError{StatusFieldValue, "time out of range"}
			}
			i.Time = time.UnixMilli(int64(ms)).UTC()
		case TagAlgorithms:
			for _, a := range v {
				i.Algorithms = append(i.Algorithms, keys.Algorithm(a))
			}
		case TagLimits:
			i.MaxRequest = int(binary.BigEndian.Uint32(v))
			i.MaxInFlight = int(binary.BigEndian.Uint16(v[4:]))
		case TagKeyHeld:
			held := keys.Held{Name: string(v[1:])}
			if !keys.ValidName(held.Name) {
				return Info{}, &FormError{StatusFieldValue, "malformed key name"}
			}
			for bit := range 8 {
				if v[0]&(1<<bit) != 0 {
					held.Versions = append(held.Versions, bit+1)
				}
			}
			i.Keys = append(i.Keys, held)
		}
	}
	if i.OldestVersion > Version || i.NewestVersion < Version {
		return Info{}, &FormError{StatusVersion, fmt.Sprintf("speaks versions %d to %d", i.OldestVersion, i.NewestVersion)}
	}
	return i, nil
}

const int64Million = 1_000_000 // keeps times within what package time can print

// SubjectFields returns the five fields that say which card key is meant.
func SubjectFields(s keys.Subject, key string) []Field {
	return []Field{
		{TagAlgorithm, []byte{byte(s.Algorithm)}},
		{TagArea, []byte(s.Area)},
		{TagHistorical, s.Historical[:]},
		{TagKeyName, []byte(key)},
		{TagKeyVersion, []byte{s.KeyVersion()}},
	}
}

// ParseSubject reads those fields from a request that [CheckRequest] accepted.
// The error is a [FormError].
func ParseSubject(f *Frame) (s keys.Subject, key string, err error) {
	for _, field := range f.Fields {
		v := field.Value
		switch field.Tag {
		case TagAlgorithm:
			s.Algorithm = keys.Algorithm(v[0])
		case TagArea:
			s.Area = string(v)
		case TagHistorical:
			s.Historical = [13]byte(v)
		case TagKeyName:
			key = string(v)
		case TagKeyVersion:
			s.Version = v[0]
		}
	}
	if err := s.Algorithm.Check(); err != nil {
		return s, key, &FormError{StatusAlgorithm, err.Error()}
	}
	// On the wire a version is said, never meant.
	if err := s.Check(); err != nil || s.Version == 0 {
		return s, key, &FormError{StatusFieldValue, "malformed area or key version"}
	}
	if !keys.ValidName(key) {
		return s, key, &FormError{StatusFieldValue, "malformed key name"}
	}
	return s, key, nil
}

// printable makes foreign text fit for logs and terminals: valid UTF-8, no
// control characters, at most 200 bytes.
func printable(b []byte) string {
	const most = 200
	text := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, string(b))
	for len(text) > most {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}
