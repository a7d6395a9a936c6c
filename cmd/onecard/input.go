package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"onecard/fault"
)

// A fileError is what is wrong with a file that the command line names. It
// holds nothing of the file but the names of keys.
type fileError struct{ name, problem string }

func (e *fileError) Error() string       { return e.name + ": " + e.problem }
func (e *fileError) Code() fault.Code    { return fault.FileUnusable }
func (e *fileError) FaultDetail() string { return e.Error() }

// readJSON reads a file of JSON, at most limit bytes, - for standard input. Its
// errors are *fileError.
func (a *app) readJSON(name string, limit int64) ([]byte, error) {
	in, shown := a.in, name
	if name == "-" {
		shown = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, &fileError{name, openProblem(err)}
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, &fileError{name, "a directory, not a file"}
		}
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch {
	case err != nil:
		return nil, &fileError{shown, "cannot be read"}
	case int64(len(text)) > limit:
		return nil, &fileError{shown, fmt.Sprintf("longer than %d bytes", limit)}
	case len(bytes.TrimSpace(text)) == 0:
		return nil, &fileError{shown, "empty"}
	case !json.Valid(text):
		return nil, &fileError{shown, notJSON(text)}
	}
	return text, nil
}

// notJSON says where a text stops being JSON.
func notJSON(text []byte) string {
	var (
		v      json.RawMessage
		syntax *json.SyntaxError
	)
	if err := json.Unmarshal(text, &v); errors.As(err, &syntax) && syntax.Offset <= int64(len(text)) {
		return fmt.Sprintf("not JSON, in line %d", 1+bytes.Count(text[:syntax.Offset], []byte("\n")))
	}
	return "not JSON"
}

// decodeFile reads the JSON of a file into v, which has every key that the
// file may have.
func decodeFile(name string, text []byte, v any) error {
	if name == "-" {
		name = "standard input"
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		given, _, _ := strings.Cut(kind.Value, " ") // without the number itself
		if kind.Field == "" {
			return &fileError{name, "not an object but: " + given}
		}
		return &fileError{name, fmt.Sprintf("key %s: of the wrong kind: %s, %s wanted", kind.Field, given, kind.Type.Kind())}
	}
	if _, key, ok := strings.Cut(err.Error(), "unknown field "); ok {
		return &fileError{name, "unknown key " + key}
	}
	return &fileError{name, "a value is not valid"}
}

func openProblem(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not found"
	case errors.Is(err, fs.ErrPermission):
		return "not permitted"
	}
	return "cannot be opened"
}

// writable says whether a file can be written, without changing or leaving one.
func writable(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	created := err == nil
	if errors.Is(err, fs.ErrExist) {
		f, err = os.OpenFile(name, os.O_WRONLY, 0)
	}
	if err == nil {
		err = f.Close()
	}
	if created {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return notWritable(name, err)
	}
	return nil
}

func notWritable(name string, err error) error {
	problem := "not writable"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem += ": its directory is not there"
	case errors.Is(err, fs.ErrPermission):
		problem += ": not permitted"
	}
	return &fileError{name, problem}
}
