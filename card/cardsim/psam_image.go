package cardsim

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"

	"onecard/card/keys"
)

// A PSAMImage is a PSAM as a person describes it. The package comment tells the
// form. It does not change once parsed.
type PSAMImage struct {
	terminal   [6]byte
	historical [13]byte
	algorithms map[keys.Algorithm]bool
	sequence   uint64
	levels     int
	area       string
	roots      map[psamKey]keys.Key // diversified as far as the levels say
	testKeys   bool
}

type psamKey struct {
	keyID
	algorithm keys.Algorithm
}

// psamKeyByNumber returns the key that P2 of BF DE names and the purpose that
// it can be prepared for: its place in the reference table counted from 1, 40
// hex more for each version after the first.
func psamKeyByNumber(number byte) (name string, version, purpose byte, ok bool) {
	place, version := int(number&0x3F), number>>6+1
	for e := range keys.Reference().All() {
		if place--; place != 0 {
			continue
		}
		switch e.Use {
		case keys.UseInternal, keys.UseExternal, keys.UseSecure:
			return e.Name, version, purposeCompute, version <= keys.Versions
		case keys.UseDebit:
			return e.Name, version, purposePurchase, version <= keys.Versions
		}
	}
	return "", 0, 0, false
}

// IsPSAM tells whether an image, right or wrong otherwise, says that it is one
// of a PSAM.
func IsPSAM(data []byte) bool {
	n, err := parseNode(data)
	if err != nil {
		return false
	}
	for _, m := range n.members {
		if m.key == "kind" {
			return m.value.kind == isString && m.value.text == "psam"
		}
	}
	return false
}

// ParsePSAMImage reads the image of a PSAM. Errors are *[ImageError] (OC-3301)
// and name the place by its JSON path, never the value.
func ParsePSAMImage(data []byte) (*PSAMImage, error) {
	n, err := parseNode(data)
	if err != nil {
		return nil, err
	}
	img := &PSAMImage{algorithms: make(map[keys.Algorithm]bool), sequence: 1, levels: 3}
	given := make(map[string]bool)
	for _, m := range n.members {
		given[m.key] = m.value.kind != isNull
	}
	own := make(map[string]keys.Key)
	lacks := make(map[string]bool)
	img.testKeys = true
	err = n.object(map[string]func(node) error{
		"comment":          func(n node) error { _, err := n.string(); return err },
		"kind":             func(n node) error { return n.mustBe("psam") },
		"terminal":         img.readTerminal,
		"historical_bytes": func(n node) error { return n.fill(img.historical[:]) },
		"algorithms":       img.readAlgorithms,
		"terminal_sequence": func(n node) error {
			v, err := n.int(0, sequenceEnd-1)
			img.sequence = uint64(v)
			return err
		},
		"levels": func(n node) (err error) { img.levels, err = n.int(1, 3); return err },
		"area": func(n node) error {
			text, err := n.string()
			if err == nil && (len(text) != 6 || strings.Trim(text, "0123456789") != "") {
				err = badImage(n.path, "must have 6 digits")
			}
			img.area = text
			return err
		},
		"keys": func(n node) error { return img.readKeys(n, own) },
		"lacks": func(n node) error {
			items, err := n.list(keys.Reference().Len())
			if err != nil {
				return err
			}
			for _, item := range items {
				name, err := item.string()
				if err != nil {
					return err
				}
				if _, ok := keys.Reference().Lookup(name); !ok {
					return badImage(item.path, "no key of that name")
				}
				lacks[name] = true
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"kind", "terminal", "historical_bytes"} {
		if !given[key] {
			return nil, badImage(key, "missing")
		}
	}
	if (img.levels < 3) != (img.area != "") {
		return nil, badImage("area", "goes with levels 1 or 2")
	}
	if len(img.algorithms) == 0 {
		img.algorithms[keys.DES], img.algorithms[keys.SM4] = true, true
	}
	return img, img.deriveKeys(own, lacks)
}

func (img *PSAMImage) readTerminal(n node) error {
	text, err := n.string()
	if err != nil {
		return err
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(img.terminal) || !validBCD(b) {
		return badImage(n.path, "must have 12 digits")
	}
	copy(img.terminal[:], b)
	return nil
}

func (img *PSAMImage) readAlgorithms(n node) error {
	items, err := n.list(2)
	if err != nil {
		return err
	}
	for _, item := range items {
		text, err := item.string()
		if err != nil {
			return err
		}
		switch text {
		case keys.DES.String():
			img.algorithms[keys.DES] = true
		case keys.SM4.String():
			img.algorithms[keys.SM4] = true
		default:
			return badImage(item.path, "must be DES or SM4")
		}
	}
	if len(items) == 0 {
		return badImage(n.path, "must name an algorithm")
	}
	return nil
}

// readKeys reads "test", or root keys by name, version 1.
func (img *PSAMImage) readKeys(n node, own map[string]keys.Key) error {
	if n.kind == isString && n.text == "test" {
		return nil
	}
	if n.kind != isObject {
		return badImage(n.path, "must be \"test\" or an object of keys by name")
	}
	img.testKeys = false
	for _, m := range n.members {
		if _, ok := keys.Reference().Lookup(m.key); !ok {
			return badImage(m.value.path, "no key of that name")
		}
		text, err := m.value.string()
		if err != nil {
			return err
		}
		key, err := keys.ParseKey(text)
		if err != nil {
			return badImage(m.value.path, "must have 32 hex digits")
		}
		own[m.key] = key
	}
	return nil
}

// deriveKeys puts the keys in, as far down as the PSAM has them. Keys that no
// command can use stay outside.
func (img *PSAMImage) deriveKeys(own map[string]keys.Key, lacks map[string]bool) error {
	img.roots = make(map[psamKey]keys.Key)
	for number := range 256 {
		name, version, _, ok := psamKeyByNumber(byte(number))
		if !ok || lacks[name] {
			continue
		}
		root, ok := own[name]
		if img.testKeys {
			root, ok = keys.TestRoot(name, version), true
		}
		if !ok || !img.testKeys && version != 1 {
			continue
		}
		for alg := range img.algorithms {
			key := root
			if img.levels < 3 {
				factors := keys.Subject{Algorithm: alg, Area: img.area}.Factors()
				for _, f := range factors[:3-img.levels] {
					next, err := keys.Diversify(alg, key, f)
					if err != nil {
						return fmt.Errorf("PSAM key: %w", err)
					}
					key = next
				}
			}
			img.roots[psamKey{keyID{name, version}, alg}] = key
		}
	}
	return nil
}

// mustBe accepts one text.
func (n node) mustBe(want string) error {
	if text, err := n.string(); err != nil || text != want {
		return badImage(n.path, "must be %q", want)
	}
	return nil
}

// fill reads hex digits for exactly b.
func (n node) fill(b []byte) error {
	v, err := n.hex(len(b), len(b))
	copy(b, v)
	return err
}

//go:embed psam.json
var examplePSAM []byte

// ExamplePSAM returns the PSAM of the three synthetic people's terminal.
func ExamplePSAM() (*PSAMImage, error) {
	return ParsePSAMImage(examplePSAM)
}
