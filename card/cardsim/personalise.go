package cardsim

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"onecard/card/keys"
	"onecard/card/profile"
)

// personalise puts an image into the chip and its memory.
func (c *Card) personalise(img *Image) error {
	if img == nil || img.cardKeys == nil {
		return errors.New("not an image that ParseImage has read")
	}
	c.chip = chip{
		atr: slices.Clone(img.atr), bank: img.bank, version: img.version.String(),
		fciAlg: img.fciAlg, algorithm: img.algorithm, layouts: img.layouts,
		keyTries: img.keyTries, pinTries: img.pinTries, testKeys: img.testKeys && !img.bank,
	}
	c.mem = memory{
		files: make(map[fileID]*content), pin: slices.Clone(img.pin), pinTries: img.pinTries,
		keyTries: make(map[keyID]int), account: img.account,
	}
	for id, content := range img.contents {
		c.mem.files[id] = content.clone()
	}
	if c.quirks[QuirkSSF33] {
		c.chip.algorithm, c.chip.fciAlg = keys.SSF33, byte(keys.SSF33)
	}
	if c.quirks[QuirkPINBlocked] {
		c.mem.pinTries = 0
	}
	if c.quirks[QuirkSpacePadded] {
		c.padWithSpaces()
	}
	return c.putKeys(img)
}

// putKeys gives the card its keys. Nobody can compute with SSF33, so such a card
// has none.
func (c *Card) putKeys(img *Image) error {
	if img.bank || c.chip.algorithm == keys.SSF33 {
		return nil
	}
	all, err := img.cardKeys()
	if err != nil {
		return err
	}
	c.chip.keys = maps.Clone(all)
	if c.quirks[QuirkNotGenuine] {
		for v := byte(1); v <= keys.Versions; v++ {
			id := keyID{"IRK", v}
			if key, ok := c.chip.keys[id]; ok {
				key[0] ^= 0xFF // a copied card does not know the key
				c.chip.keys[id] = key
			}
		}
	}
	return nil
}

// deriveKeys returns the image's own keys, or all versions of all keys from the
// test roots.
func (img *Image) deriveKeys() (map[keyID]keys.Key, error) {
	if !img.testKeys {
		return img.keys, nil
	}
	all := make(map[keyID]keys.Key)
	ring := keys.TestRing(keys.Reference())
	for e := range ring.Table().All() {
		for v := byte(1); v <= keys.Versions; v++ {
			s := keys.Subject{Algorithm: img.algorithm, Area: img.code[:6], Historical: img.historical, Version: v}
			key, err := ring.CardKey(s, e.Name)
			if err != nil {
				return nil, fmt.Errorf("key %s: %w", e.Name, err)
			}
			all[keyID{e.Name, v}] = key
		}
	}
	return all, nil
}

func (c *content) clone() *content {
	d := &content{data: slices.Clone(c.data)}
	for _, r := range c.records {
		d.records = append(d.records, slices.Clone(r))
	}
	return d
}

// padWithSpaces replaces the 00 behind every text that is set.
func (c *Card) padWithSpaces() {
	for id, l := range c.chip.layouts {
		for _, rec := range c.mem.files[id].records {
			if l.file.Structure == profile.CyclicFile {
				for _, e := range l.elements {
					padText(e, rec[e.Offset:e.Offset+e.Length])
				}
				continue
			}
			padRecord(l.elements, rec)
		}
	}
}

// padRecord finds the element of a TLV record and pads it. A record that was
// made wrong on purpose stays as it is.
func padRecord(elements []profile.Element, rec []byte) {
	i := slices.IndexFunc(elements, func(e profile.Element) bool { return len(rec) > 0 && e.ID == rec[0] })
	if i < 0 || len(rec) != 2+elements[i].Length || int(rec[1]) != elements[i].Length {
		return
	}
	e, value := elements[i], rec[2:]
	if e.Format != profile.Template {
		padText(e, value)
		return
	}
	for len(value) >= 2 && len(value) >= 2+int(value[1]) {
		n := 2 + int(value[1])
		padRecord(e.Members, value[:n])
		value = value[n:]
	}
}

func padText(e profile.Element, value []byte) {
	if e.Format != profile.AN && e.Format != profile.Text {
		return
	}
	used := bytes.TrimRight(value, "\x00")
	if len(used) == 0 {
		return
	}
	for i := len(used); i < len(value); i++ {
		value[i] = ' '
	}
}
