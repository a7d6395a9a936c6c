// Package fault is the catalogue of everything that can go wrong in front of a
// person: one stable code per failure (OC-1203), with the sentence that the
// clerk sees and the way out of it, in Chinese and English. docs/errors.md is
// made from it.
//
// Packages declare their public errors with [New] and wrap them with the
// operation as every Go error; whoever has to show an error to a person asks
// [Of] which failure it is:
//
//	var ErrNoCard = fault.New(fault.NoCard, "no card in the reader")
//
//	return fmt.Errorf("open %s: %w", slot, ErrNoCard)
//
//	f := fault.Of(err) // OC-1101, "读卡器中没有卡。", "请插入社会保障卡。"
//
// Error texts, unlike the catalogue's sentences, go to logs. They must never
// hold a PIN, a key, a name, an ID or card number.
package fault

import (
	_ "embed"
	"errors"
	"strconv"
	"strings"
	"sync"
)

// A Code names one failure for ever: "OC-" and four digits. The hundreds group
// them: 10 readers, 11 card presence and transport, 12 card content, 13 PIN,
// 14 keys, 15 the medical account, 16 certificates, 20 requests before they
// leave, 21 the line to the insurance centre, 22 its answers, 23 visit and
// journal, 30 the API, 31 configuration, 32 the machine, 33 simulators.
type Code string

// A Lang is a language of the catalogue.
type Lang string

// The languages. Chinese is the default on the desks' pages.
const (
	Chinese Lang = "zh"
	English Lang = "en"
)

// An Error is a failure that has a code. Compare with errors.Is against the
// variable that [New] made.
type Error struct {
	code Code
	text string
}

// New declares a failure. The text is for logs, in English, lower case.
func New(code Code, text string) *Error { return &Error{code, text} }

// Error returns the text for logs, without the code.
func (e *Error) Error() string { return e.text }

// Code returns the stable code.
func (e *Error) Code() Code { return e.code }

// Of returns the entry of the first coded error in err's tree, [Internal]'s
// where there is none.
func Of(err error) Entry {
	var coded interface{ Code() Code }
	if errors.As(err, &coded) {
		if e, ok := Lookup(coded.Code()); ok {
			return e
		}
	}
	e, _ := Lookup(Internal)
	return e
}

// An Entry is one row of the catalogue.
type Entry struct {
	Code   Code
	Name   string // the Go constant
	HTTP   int    // the status with which the API answers
	Text   map[Lang]string
	Cause  string // for the operator, English
	Remedy map[Lang]string
}

// Lookup returns the entry of a code.
func Lookup(code Code) (Entry, bool) {
	e, ok := index()[code]
	return e, ok
}

// Entries returns the whole catalogue in its order.
func Entries() []Entry { return append([]Entry(nil), catalogue()...) }

//go:embed faults.tsv
var table string

var catalogue = sync.OnceValue(func() []Entry {
	var entries []Entry
	rows := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	for _, row := range rows[1:] {
		f := strings.Split(row, "\t")
		status, err := strconv.Atoi(f[2])
		if err != nil {
			// The table is compiled in and checked by this package's test.
			panic("fault: faults.tsv: " + err.Error())
		}
		entries = append(entries, Entry{
			Code: Code(f[0]), Name: f[1], HTTP: status,
			Text:   map[Lang]string{Chinese: f[3], English: f[4]},
			Cause:  f[5],
			Remedy: map[Lang]string{Chinese: f[6], English: f[7]},
		})
	}
	return entries
})

var index = sync.OnceValue(func() map[Code]Entry {
	m := make(map[Code]Entry)
	for _, e := range catalogue() {
		m[e.Code] = e
	}
	return m
})
