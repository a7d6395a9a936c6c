package cardsim

import (
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"onecard/card/keys"
	"onecard/card/profile"
)

// Limits of counters that a status word carries in one nibble.
const maxTries = 15

// An Image is a card as a person describes it, checked against the profile. The
// package comment tells the form. It does not change once parsed.
type Image struct {
	bank        bool
	version     profile.Version
	atr         []byte
	historical  [13]byte
	code        string // card identification code, 32 hex digits
	fciAlg      byte
	algorithm   keys.Algorithm
	pin         []byte
	pinTries    int
	keyTries    int
	testKeys    bool
	keys        map[keyID]keys.Key // the card's own, where they are given
	layouts     map[fileID]*layout
	contents    map[fileID]*content
	account     account
	accountRead bool
	certs       *certificateImage // nil: no certificate environment
	contactless bool
	blank       bool

	// cardKeys derives once however many cards are made: it takes as long as
	// everything else together.
	cardKeys func() (map[keyID]keys.Key, error)
}

// ParseImage reads a card image. Errors are *[ImageError] (OC-3301) and name
// the place by its JSON path, never the value.
func ParseImage(data []byte) (*Image, error) {
	n, err := parseNode(data)
	if err != nil {
		return nil, err
	}
	img := &Image{
		pin: []byte{0x12, 0x34, 0x56}, pinTries: 6, keyTries: 3, testKeys: true,
		layouts: make(map[fileID]*layout), contents: make(map[fileID]*content),
	}
	img.cardKeys = sync.OnceValues(img.deriveKeys)
	var files, absent, secured node
	given := make(map[string]bool)
	for _, m := range n.members {
		given[m.key] = m.value.kind != isNull
	}
	err = n.object(map[string]func(node) error{
		"comment":             func(n node) error { _, err := n.string(); return err },
		"kind":                img.readKind,
		"atr":                 img.readATR,
		"version":             img.readVersion,
		"algorithm":           img.readAlgorithm,
		"historical_bytes":    img.readHistorical,
		"identification_code": img.readCode,
		"pin":                 img.readPIN,
		"pin_tries":           func(n node) (err error) { img.pinTries, err = n.int(1, maxTries); return err },
		"key_tries":           func(n node) (err error) { img.keyTries, err = n.int(1, maxTries); return err },
		"keys":                img.readKeys,
		"files":               func(n node) error { files = n; return nil },
		"absent":              func(n node) error { absent = n; return nil },
		"medical_account":     img.readAccount,
		"certificates":        img.readCertificates,
		"contactless":         func(n node) (err error) { img.contactless, err = n.bool(); return err },
		"secure_messaging":    func(n node) error { secured = n; return nil },
	})
	if err != nil {
		return nil, err
	}
	if img.bank {
		for key, is := range given {
			if is && key != "kind" && key != "atr" && key != "comment" {
				return nil, badImage(key, "a bank card has kind and atr only")
			}
		}
		if !given["atr"] {
			return nil, badImage("atr", "missing")
		}
		return img, nil
	}
	if img.blank {
		for key, is := range given {
			if is && key != "kind" && key != "historical_bytes" && key != "contactless" && key != "comment" {
				return nil, badImage(key, "a blank card has kind, historical_bytes and contactless only")
			}
		}
		if !given["historical_bytes"] {
			return nil, badImage("historical_bytes", "missing")
		}
		return img, nil
	}
	for _, key := range []string{"version", "historical_bytes", "identification_code"} {
		if !given[key] {
			return nil, badImage(key, "missing")
		}
	}
	if given["atr"] {
		return nil, badImage("atr", "is made of historical_bytes on a social security card")
	}
	if img.algorithm == 0 {
		img.algorithm = keys.DES // what a card means that says nothing
	}
	if img.version < profile.V30 && (img.certs != nil || img.contactless) {
		return nil, badImage("version", "only 3.0 cards have certificates or no contacts")
	}
	if err := img.readFiles(files, absent); err != nil {
		return nil, err
	}
	if err := img.readSecured(secured); err != nil {
		return nil, err
	}
	if img.accountRead && !img.hasDF("DF04") {
		return nil, badImage("medical_account", "the card has no DF04")
	}
	return img, nil
}

func (img *Image) readKind(n node) error {
	kind, err := n.string()
	switch {
	case err != nil:
		return err
	case kind == "psam":
		return badImage(n.path, "a PSAM is not a card: ParsePSAMImage reads it")
	case kind != "social-security" && kind != "bank" && kind != "blank":
		return badImage(n.path, "must be social-security, blank or bank")
	}
	img.bank, img.blank = kind == "bank", kind == "blank"
	return nil
}

func (img *Image) readATR(n node) (err error) {
	img.atr, err = n.hex(2, 33)
	return err
}

func (img *Image) readVersion(n node) error {
	text, err := n.string()
	if err != nil {
		return err
	}
	for _, v := range []profile.Version{profile.V10, profile.V20, profile.V30} {
		if text == v.String() {
			img.version = v
			return nil
		}
	}
	return badImage(n.path, "must be 1.0, 2.0 or 3.0")
}

func (img *Image) readAlgorithm(n node) error {
	text, err := n.string()
	if err != nil {
		return err
	}
	for _, a := range []keys.Algorithm{keys.DES, keys.SSF33, keys.SM4} {
		if text == a.String() {
			img.algorithm, img.fciAlg = a, byte(a)
			return nil
		}
	}
	return badImage(n.path, "must be DES, SSF33 or SM4")
}

func (img *Image) readHistorical(n node) error {
	b, err := n.hex(13, 13)
	if err != nil {
		return err
	}
	copy(img.historical[:], b)
	return nil
}

// readCode reads the card identification code: area, D156000005, serial,
// authentication code.
func (img *Image) readCode(n node) error {
	b, err := n.hex(16, 16)
	if err != nil {
		return err
	}
	code := strings.ToUpper(hex.EncodeToString(b))
	if strings.Trim(code[:6], "0123456789") != "" || code[6:16] != "D156000005" {
		return badImage(n.path, "must be 6 digits of the area, D156000005, and 16 hex digits")
	}
	img.code = code
	return nil
}

func (img *Image) readPIN(n node) (err error) {
	img.pin, err = pinOf(n)
	return err
}

// pinOf returns a PIN as VERIFY carries it.
func pinOf(n node) ([]byte, error) {
	text, err := n.string()
	if err != nil {
		return nil, err
	}
	if len(text) < 4 || len(text) > 16 || strings.Trim(text, "0123456789") != "" {
		return nil, badImage(n.path, "must have 4 to 16 digits")
	}
	return field{(len(text) + 1) / 2, profile.CN}.value(text)
}

// readKeys reads "test", or the card's own keys by name, version 1.
func (img *Image) readKeys(n node) error {
	if n.kind == isString && n.text == "test" {
		return nil
	}
	if n.kind != isObject {
		return badImage(n.path, "must be \"test\" or an object of keys by name")
	}
	img.testKeys = false
	img.keys = make(map[keyID]keys.Key)
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
		img.keys[keyID{m.key, 1}] = key
	}
	return nil
}

// readFiles makes the file system. On a 1.0 card a file exists if the image
// mentions it; later cards have all but the optional annexes DF05 and DF06,
// and what the image calls absent.
func (img *Image) readFiles(files, absent node) error {
	if files.path == "" {
		files = node{path: "files", kind: isObject}
	}
	if files.kind != isObject {
		return badImage(files.path, "must be an object, not %s", files.kind)
	}
	missing := make(map[string]bool)
	if absent.path != "" {
		items, err := absent.list(len(profile.Files()))
		if err != nil {
			return err
		}
		for _, item := range items {
			name, err := item.string()
			if err != nil {
				return err
			}
			missing[name] = true
		}
	}
	given := make(map[string]node)
	for _, m := range files.members {
		given[m.key] = m.value
	}
	for _, f := range profile.Files() {
		id := f.ID()
		n, mentioned := given[id]
		delete(given, id)
		gone := missing[id]
		delete(missing, id)
		switch {
		case img.version < f.Since || img.version > f.Until:
			if mentioned {
				return badImage(n.path, "a %s card has no such file", img.version)
			}
			continue
		case gone && mentioned:
			return badImage(n.path, "is both given and absent")
		case id == "SSSEEF05":
			if gone {
				return badImage(absent.path, "every card has SSSEEF05")
			}
			n = img.issuerData(n)
		case gone, !mentioned && (img.version == profile.V10 || f.DF == "DF05" || f.DF == "DF06"):
			continue
		}
		if err := img.readFile(f, n); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(given)) {
		return badImage(joinPath(files.path, id), "no such file")
	}
	for range missing {
		return badImage(absent.path, "names a file that the card would not have anyway")
	}
	return nil
}

// readSecured marks the files whose updates need secure messaging.
func (img *Image) readSecured(n node) error {
	if n.path == "" {
		return nil
	}
	items, err := n.list(len(profile.Files()))
	if err != nil {
		return err
	}
	for _, item := range items {
		name, err := item.string()
		if err != nil {
			return err
		}
		found := false
		for _, l := range img.layouts {
			if l.file.ID() == name {
				l.secured, found = true, true
			}
		}
		if !found {
			return badImage(item.path, "the card has no such file")
		}
	}
	return nil
}

func (img *Image) readFile(f profile.File, n node) error {
	mentions := func(tag byte) bool {
		return slices.ContainsFunc(n.members, func(m member) bool { return m.key == fmt.Sprintf("%02X", tag) })
	}
	l := newLayout(f, img.version, mentions)
	c, err := l.empty(), error(nil)
	if n.kind != isNull {
		c, err = l.fill(n)
	}
	id := fileID{f.DF, f.SFI}
	img.layouts[id], img.contents[id] = l, c
	return err
}

// issuerData adds what the image says of the whole card to SSSE/EF05: the
// card identification code and, unless it is given there, the version. A
// different version there makes a contradictory card.
func (img *Image) issuerData(n node) node {
	if n.kind == isNull {
		n = node{path: "files.SSSEEF05", kind: isObject}
	}
	n.members = slices.Clone(n.members)
	add := func(tag, text string) {
		if slices.ContainsFunc(n.members, func(m member) bool { return m.key == tag }) {
			return
		}
		n.members = append(n.members, member{tag, node{path: n.path + "." + tag, kind: isString, text: text}})
	}
	add("01", img.code)
	add("03", img.version.String()+"0")
	return n
}

func (img *Image) hasDF(df string) bool {
	for id := range img.contents {
		if id.df == df {
			return true
		}
	}
	return false
}

// hex returns the bytes of a string of hex digits.
func (n node) hex(least, most int) ([]byte, error) {
	text, err := n.string()
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) < least || len(b) > most {
		if least == most {
			return nil, badImage(n.path, "must have %d hex digits", 2*most)
		}
		return nil, badImage(n.path, "must have %d to %d hex digits in pairs", 2*least, 2*most)
	}
	return b, nil
}

//go:embed images
var images embed.FS

// Images holds the images of the three synthetic people: images/1.0.json,
// images/2.0.json and images/3.0.json.
func Images() embed.FS { return images }

// Example returns the synthetic person of a version: "1.0", "2.0" or "3.0".
func Example(name string) (*Image, error) {
	b, err := images.ReadFile("images/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("example card: %w", err)
	}
	return ParseImage(b)
}
