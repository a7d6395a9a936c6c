package terminal

import (
	"fmt"
	"os"
	"path/filepath"

	"onecard/card"
	"onecard/card/keys"
	"onecard/card/profile"
)

// CardConfig says by which profile cards are read and written.
type CardConfig struct {
	// Profile is a directory whose tables replace those of the reference
	// profile, by name; see docs/profile.md. Empty: the reference profile.
	Profile string `toml:"profile"`
}

// keyTable is the file of a profile directory that is package keys's.
const keyTable = "keys.tsv"

// maxTable bounds every table.
const maxTable = 1 << 20

// LoadProfile reads an issuer's profile. What the directory does not have is
// taken from the reference profile; a file that is no table of a profile is
// refused, since it would have no effect. Errors wrap [ErrConfig] and name file
// and line.
func LoadProfile(dir string) ([]card.Option, error) {
	if dir == "" {
		return nil, nil
	}
	wrong := func(err error) ([]card.Option, error) {
		return nil, detailed{ErrConfig, fmt.Sprintf("card.profile: %v", err)}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return wrong(err)
	}
	table := keys.Reference()
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil:
			return wrong(err)
		case info.Size() > maxTable:
			return wrong(fmt.Errorf("%s: larger than %d bytes", e.Name(), maxTable))
		case e.Name() == keyTable:
			text, err := readBounded(filepath.Join(dir, keyTable), maxTable)
			if err != nil {
				return wrong(err)
			}
			if table, err = keys.ParseTable(string(text)); err != nil {
				return wrong(fmt.Errorf("%s: %w", keyTable, err))
			}
		case !profile.IsTable(e.Name()):
			return wrong(fmt.Errorf("%s is no table of a profile", e.Name()))
		}
	}
	p, err := profile.LoadOver(os.DirFS(dir))
	if err != nil {
		return wrong(err)
	}
	if err := p.CheckKeys(func(name string) bool { _, known := table.Lookup(name); return known }); err != nil {
		return wrong(err)
	}
	return []card.Option{card.WithProfile(p), card.WithKeyTable(table)}, nil
}
