package cardsim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"onecard/card/keys"
	"onecard/card/profile"
)

// personalise puts an image into the chip and its memory.
func (c *Card) personalise(img *Image) error {
	if img == nil || img.cardKeys == nil {
		return errors.New("not an image that ParseImage has read")
	}
	if c.contactless && !img.blank && img.version < profile.V30 {
		return badImage("version", "only 3.0 cards have no contacts")
	}
	c.chip = chip{
		bank: img.bank, atr: slices.Clone(img.atr), historical: img.historical,
		contactless: img.contactless || c.contactless, testKeys: img.testKeys && !img.bank,
	}
	c.mem = newMemory()
	if img.bank {
		c.mem.life = lifeIssued
		return nil
	}
	if img.blank || c.blank {
		return nil
	}
	m := c.mem
	m.life = lifeIssued
	m.pin, m.pinTries, m.pinLimit = slices.Clone(img.pin), img.pinTries, img.pinTries
	m.account = img.account
	alg := img.fciAlg
	if c.quirks[QuirkSSF33] {
		alg = byte(keys.SSF33)
	}
	for id, content := range img.contents {
		l := img.layouts[id]
		m.files[id], m.forms[id] = content.clone(), l.form()
		if _, ok := m.dirs[id.df]; !ok {
			d := referenceDirectories()[id.df]
			d.alg = alg
			m.dirs[id.df] = d
		}
	}
	if c.quirks[QuirkPINBlocked] {
		m.pinTries = 0
	}
	if c.quirks[QuirkSpacePadded] {
		m.padWithSpaces(img.layouts)
	}
	if img.certs != nil {
		m.putCertificates(img.certs, img.pinTries)
	}
	return c.putKeys(img)
}

// referenceDirectories returns the tree of the reference profile by node, the
// certificate environment of 3.0 included, which has no file identifiers in
// public (profile: DDF2, ADF1).
var referenceDirectories = sync.OnceValue(func() map[string]directory {
	dirs := map[string]directory{
		dfACSE: {fid: [2]byte{0xDD, 0xF2}, aid: []byte("PKI.\xC9\xE7\xBB\xE1\xB1\xA3\xD5\xCF"), parent: dfMF},
		dfCert: {fid: [2]byte{0xAD, 0xF1}, aid: []byte("SS.CERT.ADF1"), parent: dfACSE},
	}
	for _, d := range profile.Reference().Directories() {
		dir := directory{fid: d.FID, aid: slices.Clone(d.AID), parent: dfSSSE}
		if d.DF == dfSSSE {
			dir.parent = dfMF
		}
		dirs[d.DF] = dir
	}
	return dirs
})

// putKeys gives the card its keys. Nobody can compute with SSF33, so such a card
// has none.
func (c *Card) putKeys(img *Image) error {
	if c.mem.algorithm() == keys.SSF33 {
		return nil
	}
	all, err := img.cardKeys()
	if err != nil {
		return err
	}
	for id, key := range all {
		e, _ := keys.Reference().Lookup(id.name)
		if _, ok := c.mem.dirs[keyNode(e)]; ok {
			c.mem.keys[id], c.mem.limits[id] = key, img.keyTries
		}
	}
	if c.quirks[QuirkNotGenuine] {
		for v := byte(1); v <= keys.Versions; v++ {
			id := keyID{"IRK", v}
			if key, ok := c.mem.keys[id]; ok {
				key[0] ^= 0xFF // a copied card does not know the key
				c.mem.keys[id] = key
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

// padWithSpaces replaces the 00 behind every text that is set.
func (m *memory) padWithSpaces(layouts map[fileID]*layout) {
	for id, l := range layouts {
		for i, rec := range m.files[id].records {
			rec = slices.Clone(rec)
			m.files[id].records[i] = rec
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
