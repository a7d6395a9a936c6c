package terminal

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed words.tsv
var wordsTSV string

// englishWords are English words for the codes of the national dictionaries
// that a desk shows; the dictionaries themselves are Chinese.
var englishWords = sync.OnceValue(func() map[string]string {
	m := make(map[string]string)
	for row := range strings.Lines(wordsTSV) {
		if f := strings.Split(strings.TrimSpace(row), "\t"); len(f) == 3 {
			m[f[0]+"\x00"+f[1]] = f[2]
		}
	}
	return m
})

// coded adds the words of a code; a code without any is shown as it is.
func (s *Service) coded(dictionary, code string) Coded {
	c := Coded{Code: code, English: englishWords()[dictionary+"\x00"+code]}
	if s.catalogue != nil && code != "" {
		c.Chinese, _ = s.catalogue.Meaning(dictionary, code)
	}
	return c
}
