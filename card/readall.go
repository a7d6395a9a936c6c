package card

import (
	"context"
	"slices"

	"onecard/card/profile"
)

// FilesOfVersion returns the files that a card of this version may have, in the
// profile's order.
func (c *Card) FilesOfVersion() []FileID {
	var list []FileID
	for _, f := range c.profile.Files() {
		if c.has(f) {
			list = append(list, FileID{f.DF, f.EF})
		}
	}
	return list
}

// ReadFiles reads several files (none named: all of the card's version) in the
// fewest commands: directory by directory, the selected one first, because
// leaving a directory drops its keys; in a directory first what needs nothing or
// the PIN alone, then by key, so that each key is authenticated once and only
// where it is needed. The files come back in that order; what could not be
// read is missing, with the reason. The error is the reader's.
func (c *Card) ReadFiles(ctx context.Context, kh KeyHolder, ids ...FileID) ([]File, []Missing, error) {
	if len(ids) == 0 {
		ids = c.FilesOfVersion()
	}
	var files []File
	var missing []Missing
	var keyless error
	if kh == nil {
		keyless = ErrNoKeyHolder
	}
	for _, id := range c.readingOrder(ids) {
		f, ok := c.profile.File(id.DF, id.EF)
		if !ok {
			missing = append(missing, Missing{File: id, Reason: ErrFileUnknown})
			continue
		}
		var file File
		err := c.readPart(f, part{id, func() (err error) {
			file, err = c.ReadFile(ctx, id, kh)
			return err
		}}, keyless)
		if c.lost || ctx.Err() != nil {
			return files, missing, err
		}
		if err != nil {
			missing = append(missing, Missing{id, f.NameZH, f.NameEN, err})
			if kh != nil && holderFailed(err) {
				keyless, kh = err, nil
			}
		}
		if err == nil || len(file.Records) > 0 || len(file.Data) > 0 {
			files = append(files, file)
		}
	}
	return files, missing, nil
}

// readingOrder sorts files by directory and by what they need.
func (c *Card) readingOrder(ids []FileID) []FileID {
	rank := map[string]int{}
	for i, d := range c.profile.Directories() {
		rank[d.DF] = i + 1
	}
	rank[c.df] = 0
	need := func(id FileID) string {
		f, ok := c.profile.File(id.DF, id.EF)
		if !ok {
			return ""
		}
		access := f.ReadAccess(c.issuer.Specification)
		if access.Met(c.pin, func(string) bool { return false }) {
			return ""
		}
		return keysOf(access)
	}
	ids = slices.Clone(ids)
	slices.SortStableFunc(ids, func(a, b FileID) int {
		if a.DF != b.DF {
			return rank[a.DF] - rank[b.DF]
		}
		x, y := need(a), need(b)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return ids
}

// keysOf names the keys of a condition, to bring files with the same together.
func keysOf(access profile.Access) string {
	s := ""
	for _, alt := range access {
		for _, key := range alt.Keys {
			s += key + " "
		}
	}
	return s
}
