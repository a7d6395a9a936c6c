package cardsim

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// chunk is how many bytes of a transparent file one command writes.
const chunk = 248

// Commands returns the commands that turn a blank card with the same
// historical bytes (see [WithBlank]) into the card that [New] makes of the
// image, in the vendor's form of the package comment. Every command must be
// answered with 9000. After an interruption the card is erased (80 0E 00 00)
// and the commands are sent again from the first. An image with records that
// are wrong on purpose ("whole:") cannot be written this way: the error wraps
// OC-3301. The commands hold the card's keys and PIN.
func (img *Image) Commands() ([][]byte, error) {
	if img.bank || img.blank {
		return nil, fmt.Errorf("commands for an image: %w", badImage("kind", "not a social security card"))
	}
	w := &issuer{img: img}
	if img.algorithm != keys.SSF33 {
		all, err := img.cardKeys()
		if err != nil {
			return nil, fmt.Errorf("commands for an image: %w", err)
		}
		w.keys = all
	}
	for _, d := range profile.Reference().Directories() {
		if img.hasDF(d.DF) || d.DF == dfSSSE {
			w.directory(d.DF)
		}
	}
	if img.certs != nil {
		w.certificates()
	}
	w.add(0x80, insCreate, 2, 0, nil)
	if w.err != nil {
		return nil, fmt.Errorf("commands for an image: %w", w.err)
	}
	return w.out, nil
}

// An issuer gathers commands.
type issuer struct {
	img  *Image
	keys map[keyID]keys.Key
	out  [][]byte
	err  error
}

func (w *issuer) add(cla, ins, p1, p2 byte, data []byte) {
	b, err := apdu.Command{CLA: cla, INS: ins, P1: p1, P2: p2, Data: data}.Bytes()
	if err != nil && w.err == nil {
		w.err = err
	}
	if len(data) == 0 {
		b = append(b[:4:4], 0)
	}
	w.out = append(w.out, b)
}

func (w *issuer) enter(node string, alg byte) {
	d := referenceDirectories()[node]
	parent := rootFID
	if d.parent != dfMF {
		parent = referenceDirectories()[d.parent].fid
	}
	w.add(0x00, insSelect, 0, 0, parent[:])
	kind := byte(typeADF)
	if d.parent == dfMF {
		kind = typeDDF
	}
	w.add(0x80, insCreate, 0, 0, append([]byte{d.fid[0], d.fid[1], kind, alg}, d.aid...))
}

func (w *issuer) key(use, number, version byte, limit int, value []byte) {
	w.add(0x80, insWriteKey, 0, 0, append([]byte{use, number, version, byte(limit)}, value...))
}

func (w *issuer) directory(node string) {
	w.enter(node, w.img.fciAlg)
	if node == dfSSSE {
		w.key(usePIN, 0, 0, w.img.pinTries, w.img.pin)
	}
	for e := range keys.Reference().All() {
		for v := byte(1); v <= keys.Versions; v++ {
			if key, ok := w.keys[keyID{e.Name, v}]; ok && keyNode(e) == node {
				w.key(keyUses[e.Use], e.ID, v, w.img.keyTries, key[:])
			}
		}
	}
	ids := slices.SortedFunc(maps.Keys(w.img.contents), func(a, b fileID) int { return cmp.Compare(a.sfi, b.sfi) })
	for _, id := range ids {
		if id.df == node {
			w.file(id, w.img.layouts[id].form(), w.img.contents[id])
		}
	}
	if node == dfMedical && w.img.account != (account{}) {
		head := []byte{0x00, 0x03, typeInternal, accessNever, 0, 0, accessNever, 0, 0, 0}
		w.add(0x80, insCreate, 1, 0, append(head, w.img.account.bytes()...))
	}
}

func (w *issuer) file(id fileID, f *form, c *content) {
	head := []byte{f.fid[0], f.fid[1], 0}
	for _, a := range []profile.Access{f.read, f.write} {
		b, ok := accessBytes(a)
		if !ok && w.err == nil {
			w.err = badImage("files."+id.df, "has an access condition that the commands cannot say")
		}
		head = append(head, b[:]...)
	}
	head = append(head, 0)
	if f.secured {
		head[len(head)-1] = 1
	}
	switch f.structure {
	case profile.Transparent:
		head[2] = typeTransparent
		head = binary.BigEndian.AppendUint16(head, uint16(f.size))
	case profile.CyclicFile:
		head[2] = typeCyclic
		head = append(head, byte(f.recordSize), byte(f.capacity))
	default:
		head[2] = typeVariable
		if f.structure == profile.Fixed {
			head[2] = typeFixed
		}
		for _, s := range f.slots {
			head = append(head, s.tag, byte(s.length))
		}
	}
	w.add(0x80, insCreate, 1, 0, head)
	w.content(id, f, c)
}

func (w *issuer) content(id fileID, f *form, c *content) {
	switch f.structure {
	case profile.Transparent:
		for at := 0; at < len(c.data); at += chunk {
			part := c.data[at:min(at+chunk, len(c.data))]
			if slices.ContainsFunc(part, func(b byte) bool { return b != 0 }) {
				w.add(0x00, insUpdateBinary, byte(at>>8), byte(at), part)
			}
		}
	case profile.CyclicFile:
		for _, r := range slices.Backward(c.records) {
			w.add(0x00, insUpdateRecord, 0, id.sfi<<3|modePrevious, r)
		}
	default:
		for i, r := range c.records {
			if s := f.slots[i]; (len(r) != 2+s.length || r[0] != s.tag || int(r[1]) != s.length) && w.err == nil {
				w.err = badImage("files."+id.df, "has a record that no command can write")
			}
			w.add(0x00, insUpdateRecord, byte(i+1), id.sfi<<3|modeNumber, r)
		}
	}
}

// accessBytes is the reverse of accessOf.
func accessBytes(a profile.Access) ([accessSize]byte, bool) {
	number := func(i int) byte {
		if len(a[i].Keys) != 1 {
			return 0
		}
		id, _ := keys.KeyID(a[i].Keys[0])
		return id
	}
	switch {
	case len(a) == 0:
		return [accessSize]byte{accessNever}, true
	case len(a) == 1 && len(a[0].Keys) == 0 && !a[0].PIN:
		return [accessSize]byte{accessFree}, true
	case len(a) == 1 && len(a[0].Keys) == 0:
		return [accessSize]byte{accessPIN}, true
	case len(a) == 1 && slices.Equal(a[0].Keys, []string{userProof}):
		return [accessSize]byte{accessUser}, true
	case len(a) == 1 && slices.Equal(a[0].Keys, []string{adminProof}):
		return [accessSize]byte{accessAdmin}, true
	case len(a) == 1 && len(a[0].Keys) == 1 && a[0].PIN:
		return [accessSize]byte{accessBoth, number(0)}, true
	case len(a) == 1 && len(a[0].Keys) == 1:
		return [accessSize]byte{accessKey, number(0)}, true
	case len(a) == 2 && a[0].PIN && len(a[0].Keys) == 0 && !a[1].PIN && len(a[1].Keys) == 1:
		return [accessSize]byte{accessEither, number(1)}, true
	case len(a) == 2 && a[0].PIN && len(a[0].Keys) == 1 && !a[1].PIN && len(a[1].Keys) == 1:
		return [accessSize]byte{accessOther, number(0), number(1)}, true
	}
	return [accessSize]byte{}, false
}

// certificates makes the environment as memory.putCertificates does.
func (w *issuer) certificates() {
	ci := w.img.certs
	w.enter(dfACSE, 0)
	w.enter(dfCert, 0)
	for _, sfi := range slices.Sorted(maps.Keys(certificateForms())) {
		f := certificateForms()[sfi]
		c := &content{data: make([]byte, f.size)}
		copy(c.data, ci.files[sfi])
		w.file(fileID{dfCert, sfi}, f, c)
	}
	user, admin := pinDigest(ci.user), pinDigest(ci.admin)
	w.key(useUserPIN, 0, 0, w.img.pinTries, user[:])
	w.key(useAdminPIN, 0, 0, w.img.pinTries, admin[:])
	if ci.key != nil {
		w.key(usePrivateKey, 0, 0, 1, ci.scalar)
	}
}
