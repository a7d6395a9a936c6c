package profile

import (
	"errors"
	"fmt"
	"io/fs"
)

// LoadOver reads the tables of fsys and takes those that it lacks from the
// reference profile. The tables are checked together, as [Load] does it.
func LoadOver(fsys fs.FS) (*Profile, error) { return Load(layers{fsys, tables}) }

// IsTable reports whether a file of this name is a table of a profile.
func IsTable(name string) bool {
	info, err := fs.Stat(tables, name)
	return err == nil && !info.IsDir()
}

// layers is a file system over another.
type layers struct{ over, under fs.FS }

func (l layers) Open(name string) (fs.File, error) {
	f, err := l.over.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l.under.Open(name)
	}
	return f, err
}

// CheckKeys asks of every key that an access condition names whether it is
// known; the error names the first file with one that is not.
func (p *Profile) CheckKeys(known func(name string) bool) error {
	for _, f := range p.files {
		for _, conditions := range []map[Version]Access{f.read, f.write} {
			for _, access := range conditions {
				for _, alternative := range access {
					for _, key := range alternative.Keys {
						if !known(key) {
							return fmt.Errorf("profile: %s needs key %s, and the key table has none", f.ID(), key)
						}
					}
				}
			}
		}
	}
	return nil
}
