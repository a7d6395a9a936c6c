package cardsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"onecard/fault"
)

// Bounds of an image file. A whole card with photograph and fingerprint as hex
// digits is below 64 KiB.
const (
	maxImageBytes = 1 << 20
	maxImageDepth = 8
	maxImageNodes = 20000
)

// errImage is what every [ImageError] wraps.
var errImage = fault.New(fault.ImageInvalid, "invalid card image")

// An ImageError says what is wrong with a card image and where. Neither part
// repeats a value of the image: it may describe a real person.
type ImageError struct {
	Path    string // JSON path: "files.DF03EF07.71", "files.DF02EF07[1].from"
	Problem string
}

// Error returns path and problem.
func (e *ImageError) Error() string {
	if e.Path == "" {
		return "card image: " + e.Problem
	}
	return "card image: " + e.Path + ": " + e.Problem
}

// Code returns OC-3301.
func (e *ImageError) Code() fault.Code { return fault.ImageInvalid }

// Unwrap returns the error of OC-3301.
func (e *ImageError) Unwrap() error { return errImage }

func badImage(path, format string, args ...any) error {
	return &ImageError{Path: path, Problem: fmt.Sprintf(format, args...)}
}

// A node is one value of the image with the path that leads to it. The
// standard decoder is not used for the binding because it takes duplicate keys
// silently and its errors name Go types instead of places in the file.
type node struct {
	path    string
	kind    nodeKind
	text    string // of a string or a number
	truth   bool
	members []member // of an object, in their order
	items   []node   // of an array
}

type member struct {
	key   string
	value node
}

type nodeKind int

const (
	isNull nodeKind = iota
	isString
	isNumber
	isBool
	isArray
	isObject
)

func (k nodeKind) String() string {
	return [...]string{"null", "a string", "a number", "true or false", "a list", "an object"}[k]
}

// parseNode reads one JSON value and nothing after it.
func parseNode(data []byte) (node, error) {
	if len(data) > maxImageBytes {
		return node{}, badImage("", "larger than %d bytes", maxImageBytes)
	}
	dec := &nodeReader{Decoder: json.NewDecoder(bytes.NewReader(data))}
	dec.UseNumber()
	n, err := readNode(dec, "", 0)
	if err != nil {
		return node{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, badImage("", "something follows the image")
	}
	return n, nil
}

type nodeReader struct {
	*json.Decoder
	nodes int // read so far
}

func readNode(dec *nodeReader, path string, depth int) (node, error) {
	if depth > maxImageDepth {
		return node{}, badImage(path, "nested too deeply")
	}
	if dec.nodes++; dec.nodes > maxImageNodes {
		return node{}, badImage(path, "more than %d values", maxImageNodes)
	}
	tok, err := dec.Token()
	if err != nil {
		return node{}, badImage(path, "not JSON near byte %d", dec.InputOffset())
	}
	n := node{path: path}
	switch t := tok.(type) {
	case nil:
		n.kind = isNull
	case bool:
		n.kind, n.truth = isBool, t
	case string:
		n.kind, n.text = isString, t
	case json.Number:
		n.kind, n.text = isNumber, t.String()
	case json.Delim:
		if t == '[' {
			n.kind = isArray
			err = readItems(dec, &n, depth)
		} else {
			n.kind = isObject
			err = readMembers(dec, &n, depth)
		}
	}
	return n, err
}

func readItems(dec *nodeReader, n *node, depth int) error {
	for dec.More() {
		item, err := readNode(dec, n.path+"["+strconv.Itoa(len(n.items))+"]", depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	return readEnd(dec, n.path)
}

func readMembers(dec *nodeReader, n *node, depth int) error {
	seen := make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return badImage(n.path, "not JSON near byte %d", dec.InputOffset())
		}
		key, ok := tok.(string)
		if !ok {
			return badImage(n.path, "not JSON near byte %d", dec.InputOffset())
		}
		path := joinPath(n.path, key)
		if seen[key] {
			return badImage(path, "given twice")
		}
		seen[key] = true
		value, err := readNode(dec, path, depth+1)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{key, value})
	}
	return readEnd(dec, n.path)
}

// readEnd consumes the bracket that closes a list or an object.
func readEnd(dec *nodeReader, path string) error {
	if _, err := dec.Token(); err != nil {
		return badImage(path, "not JSON near byte %d", dec.InputOffset())
	}
	return nil
}

// joinPath appends a key, shortened where somebody put a novel there.
func joinPath(path, key string) string {
	const longest = 64
	if r := []rune(key); len(r) > longest {
		key = string(r[:longest]) + "..."
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// object hands every member to a function chosen by its key; a key without a
// function is refused. null is as good as absent.
func (n node) object(fields map[string]func(node) error) error {
	if n.kind != isObject {
		return badImage(n.path, "must be an object, not %s", n.kind)
	}
	for _, m := range n.members {
		f, ok := fields[m.key]
		if !ok {
			return badImage(m.value.path, "unknown key")
		}
		if m.value.kind == isNull {
			continue
		}
		if err := f(m.value); err != nil {
			return err
		}
	}
	return nil
}

// string returns the text of a string; a number is not taken for one because
// it loses leading zeros.
func (n node) string() (string, error) {
	if n.kind != isString {
		return "", badImage(n.path, "must be a string in quotation marks, not %s", n.kind)
	}
	return n.text, nil
}

// int returns a whole number between low and high.
func (n node) int(low, high int) (int, error) {
	v, err := strconv.Atoi(n.text)
	if n.kind != isNumber || err != nil || v < low || v > high {
		return 0, badImage(n.path, "must be a whole number from %d to %d", low, high)
	}
	return v, nil
}

func (n node) bool() (bool, error) {
	if n.kind != isBool {
		return false, badImage(n.path, "must be true or false, not %s", n.kind)
	}
	return n.truth, nil
}

// list returns the items of an array of at most that many.
func (n node) list(most int) ([]node, error) {
	if n.kind != isArray {
		return nil, badImage(n.path, "must be a list, not %s", n.kind)
	}
	if len(n.items) > most {
		return nil, badImage(n.path, "has %d items, there is room for %d", len(n.items), most)
	}
	return n.items, nil
}
