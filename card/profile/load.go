package profile

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// loadElements reads elements.tsv, refined by details.tsv and parts.tsv.
func (p *Profile) loadElements(fsys fs.FS) ([]row, error) {
	var rows []row
	err := readTable(fsys, "elements.tsv", 11, func(f []string) error {
		r, err := parseElement(f)
		rows = append(rows, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	// find calls change for every row of an element and reports whether there was one.
	find := func(df, ef, tag string, v1 bool, change func(e *Element)) error {
		found := false
		for i := range rows {
			e := &rows[i].Element
			place := e.Tag
			if e.Kind == Field {
				place = "@" + strconv.Itoa(e.Offset)
			}
			if e.DF == df && e.EF == ef && place == tag && e.V1 == v1 {
				change(e)
				found = true
			}
		}
		if !found {
			return fmt.Errorf("no element %s%s %s", df, ef, tag)
		}
		return nil
	}
	err = readTable(fsys, "details.tsv", 6, func(f []string) error {
		format := Format(0)
		if f[4] != "" {
			if format, err = parseFormatName(f[4]); err != nil {
				return err
			}
		}
		if f[5] != "" && p.codes[f[5]] == nil {
			return fmt.Errorf("unknown code table %q", f[5])
		}
		return find(f[0], f[1], f[2], f[3] == "1.0", func(e *Element) {
			if format != 0 {
				e.Format = format
			}
			e.Codes = f[5]
		})
	})
	if err != nil {
		return nil, err
	}
	err = readTable(fsys, "parts.tsv", 8, func(f []string) error {
		offset, err1 := strconv.Atoi(f[3])
		length, err2 := strconv.Atoi(f[4])
		if err1 != nil || err2 != nil || offset < 0 || length < 1 {
			return fmt.Errorf("part %q %q", f[3], f[4])
		}
		if f[7] != "" && p.codes[f[7]] == nil {
			return fmt.Errorf("unknown code table %q", f[7])
		}
		return find(f[0], f[1], f[2], false, func(e *Element) {
			e.Parts = append(e.Parts, Part{offset, length, f[5], f[6], f[7]})
		})
	})
	if err != nil {
		return nil, err
	}
	// Templates learn their members once those have their details.
	for i := range rows {
		e := &rows[i].Element
		if e.Format != Template {
			continue
		}
		for _, m := range rows {
			if m.Kind == Member && m.DF == e.DF && m.EF == e.EF && slices.Contains(m.parents, e.ID) {
				e.Members = append(e.Members, m.Element)
			}
		}
		size := 0
		for _, m := range e.Members {
			size += 2 + m.Length
		}
		if size != e.Length {
			return nil, fmt.Errorf("profile: template %s%s %s holds %d bytes, its members need %d", e.DF, e.EF, e.Tag, e.Length, size)
		}
	}
	for _, r := range rows {
		p.elements = append(p.elements, r.Element)
	}
	return rows, nil
}

func (p *Profile) loadDirectories(fsys fs.FS) error {
	return readTable(fsys, "directories.tsv", 5, func(f []string) error {
		d := Directory{DF: f[0], NameZH: f[3], NameEN: f[4]}
		fid, err := hex.DecodeString(f[1])
		if err != nil || len(fid) != 2 {
			return fmt.Errorf("file identifier %q", f[1])
		}
		copy(d.FID[:], fid)
		if d.AID, err = hex.DecodeString(f[2]); err != nil || len(d.AID) > 16 {
			return fmt.Errorf("name %q", f[2])
		}
		p.directories = append(p.directories, d)
		return nil
	})
}

func (p *Profile) loadFiles(fsys fs.FS, rows []row) error {
	return readTable(fsys, "files.tsv", 12, func(c []string) error {
		f := File{DF: c[0], EF: c[1], NameZH: c[10], NameEN: c[11], Since: V10, Until: V30,
			read: map[Version]Access{}, write: map[Version]Access{}}
		if _, ok := p.Directory(f.DF); !ok {
			return fmt.Errorf("unknown directory %q", f.DF)
		}
		sfi, err := strconv.ParseUint(strings.TrimPrefix(f.EF, "EF"), 16, 8)
		if err != nil || sfi < 1 || sfi > 30 {
			return fmt.Errorf("file %q has no short identifier", f.EF)
		}
		f.SFI = byte(sfi)
		if f.Structure = structureNames[c[2]]; f.Structure == 0 {
			return fmt.Errorf("structure %q", c[2])
		}
		for _, bound := range []struct {
			text string
			v    *Version
		}{{c[3], &f.Since}, {c[4], &f.Until}} {
			if bound.text != "" {
				if *bound.v, err = parseVersion(bound.text); err != nil {
					return err
				}
			}
		}
		if c[7] != "" {
			for _, s := range strings.Split(c[7], ",") {
				n, err := strconv.Atoi(s)
				if err != nil || n < 1 || n > 256 {
					return fmt.Errorf("record size %q", s)
				}
				f.RecordSizes = append(f.RecordSizes, n)
			}
		}
		if c[8] != "" {
			if f.MinRecords, err = strconv.Atoi(c[8]); err != nil || f.MinRecords > 254 {
				return fmt.Errorf("record count %q", c[8])
			}
		}
		return p.fillFile(&f, rows, c[5], c[6], c[9])
	})
}

// fillFile gives a file its elements and access conditions. readV1 and
// writeV1 replace the conditions on 1.0 cards; like names the EF whose
// elements it holds.
func (p *Profile) fillFile(f *File, rows []row, readV1, writeV1, like string) error {
	ef := f.EF
	if like != "" {
		ef = like
	}
	read, write := "", ""
	v1 := map[byte]Element{}
	for _, r := range rows {
		if r.DF != f.DF || r.EF != ef {
			continue
		}
		e := r.Element
		e.EF = f.EF
		if r.V1 {
			if like == "" {
				v1[r.ID] = e
			}
			continue
		}
		if read == "" {
			read, write = r.Read, r.Write
		}
		switch r.Kind {
		case Record:
			// An optional record stands where the table shows it.
			f.Elements = append(f.Elements, e)
		case Field:
			f.Elements = append(f.Elements, e)
		case Whole:
			f.Size = e.Length
			f.Elements = append(f.Elements, e)
		}
	}
	if len(f.Elements) == 0 {
		return fmt.Errorf("file %s has no elements", f.ID())
	}
	for _, e := range f.Elements {
		if e.DF == "SSSE" && e.EF == "EF06" && e.ID == 0x4E {
			continue // the name extension came with 2.0
		}
		if old, ok := v1[e.ID]; ok && e.Kind == Record {
			old.Record, old.Number, old.Kind = e.Record, e.Number, Record
			e = old
		}
		if f.Structure == Variable {
			if e.Number = len(f.ElementsV1) + 1; e.Optional {
				e.Number = 0
			}
		}
		f.ElementsV1 = append(f.ElementsV1, e)
	}
	for _, v := range []Version{V10, V20, V30} {
		r, w := read, write
		if v == V10 && readV1 != "" {
			r = readV1
		}
		if v == V10 && writeV1 != "" {
			w = writeV1
		}
		var err error
		if f.read[v], err = versionedAccess(r, v); err != nil {
			return err
		}
		if f.write[v], err = versionedAccess(w, v); err != nil {
			return err
		}
	}
	p.files = append(p.files, *f)
	return nil
}
