package terminal

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	"onecard/settlement"
)

// Bounds of the price list and of one search in it.
const (
	maxPriceList = 16 << 20
	maxFound     = 20
)

// LoadPrices reads the institution's price list: UTF-8, TAB, code, name, price
// in yuan. Empty lines and lines that begin with # are skipped. Errors wrap
// [ErrConfig] and name the line.
func LoadPrices(file string) ([]PriceItem, error) {
	text, err := readBounded(file, maxPriceList)
	if err != nil {
		return nil, fmt.Errorf("price list: %w: %w", ErrConfig, err)
	}
	var items []PriceItem
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 3 || f[0] == "" || f[1] == "" {
			return nil, fmt.Errorf("price list: line %d: code, name and price expected: %w", n, ErrConfig)
		}
		if _, err := settlement.ParsePrice(f[2]); err != nil {
			return nil, fmt.Errorf("price list: line %d: %w: %w", n, ErrConfig, err)
		}
		items = append(items, PriceItem{f[0], f[1], f[2]})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("price list: %w: %w", ErrConfig, err)
	}
	return items, nil
}

// Prices finds items whose code or name holds q, those that begin with it
// first. An empty q finds nothing.
func (s *Service) Prices(q string) []PriceItem {
	q = strings.ToLower(strings.TrimSpace(q))
	found, later := []PriceItem{}, []PriceItem{}
	if q == "" {
		return found
	}
	for _, item := range s.parts.Prices {
		code, name := strings.ToLower(item.Code), strings.ToLower(item.Name)
		switch {
		case strings.HasPrefix(code, q) || strings.HasPrefix(name, q):
			found = append(found, item)
		case len(later) < maxFound && (strings.Contains(code, q) || strings.Contains(name, q)):
			later = append(later, item)
		}
		if len(found) == maxFound {
			return found
		}
	}
	found = append(found, later...)
	return found[:min(len(found), maxFound)]
}
