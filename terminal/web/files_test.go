package web_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"onecard/terminal/web"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := fs.ReadFile(web.Files(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func messages(t *testing.T, language string) map[string]string {
	t.Helper()
	m := make(map[string]string)
	if err := json.Unmarshal([]byte(read(t, "messages."+language+".json")), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

func TestMessages(t *testing.T) {
	zh, en := messages(t, "zh"), messages(t, "en")
	if a, b := slices.Sorted(maps.Keys(zh)), slices.Sorted(maps.Keys(en)); !slices.Equal(a, b) {
		t.Errorf("the catalogues differ in their keys:\n%q\n%q", a, b)
	}
	for key, text := range zh {
		if text == "" || en[key] == "" {
			t.Errorf("%s is empty", key)
		}
		a, b := placeholder.FindAllString(text, -1), placeholder.FindAllString(en[key], -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("%s has %v in Chinese and %v in English", key, a, b)
		}
	}
}

// TestMessagesUsed finds sentences that the page asks for and does not have,
// and those that it has and never asks for.
func TestMessagesUsed(t *testing.T) {
	zh := messages(t, "zh")
	literal := regexp.MustCompile(`\bt\("([^"]+)"|data-t(?:-label)?="([^"]+)"|problem: "(problem\.[^"]+)"|"((?:line|pin|reveal|trial|register|paste)\.[a-z_.]+)"`)
	dynamic := regexp.MustCompile("(?:\\bt|known)\\(`([^$`]+)\\$\\{")
	used, prefixes := make(map[string]bool), []string{"line.edit", "line.delete"}
	entries, err := fs.ReadDir(web.Files(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".js") && !strings.HasSuffix(entry.Name(), ".html") {
			continue
		}
		source := read(t, entry.Name())
		for _, found := range literal.FindAllStringSubmatch(source, -1) {
			key := found[1] + found[2] + found[3] + found[4]
			used[key] = true
			if zh[key] == "" {
				t.Errorf("%s: %q has no sentence", entry.Name(), key)
			}
		}
		for _, found := range dynamic.FindAllStringSubmatch(source, -1) {
			prefixes = append(prefixes, found[1])
		}
	}
	for key := range zh {
		if !used[key] && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("%q is never used", key)
		}
	}
}

// TestFilesAreAlone checks what the content policy demands before a browser does.
func TestFilesAreAlone(t *testing.T) {
	page := read(t, "index.html")
	for _, bad := range []*regexp.Regexp{regexp.MustCompile(`<script(?:\s+type="module")?>`), regexp.MustCompile(`<style`), regexp.MustCompile(`\son\w+=`), regexp.MustCompile(`\sstyle=`)} {
		if found := bad.FindString(page); found != "" {
			t.Errorf("index.html has %q", found)
		}
	}
	outside := regexp.MustCompile(`(?i)https?:(?://|\\/\\/)[^\s"'` + "`" + `)]+`)
	inner := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|console\.`)
	err := fs.WalkDir(web.Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		source := read(t, name)
		for _, found := range outside.FindAllString(source, -1) {
			if found != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %s", name, found)
			}
		}
		if found := inner.FindString(source); found != "" {
			t.Errorf("%s uses %s", name, found)
		}
		if n := strings.Count(source, "\n"); strings.HasSuffix(name, ".js") && n > 500 {
			t.Errorf("%s has %d lines", name, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stored := regexp.MustCompile(`(?:localStorage|sessionStorage|indexedDB|document\.cookie)`)
	for _, entry := range []string{"card.js", "visit.js", "fees.js", "paste.js", "trial.js", "receipt.js", "journal.js", "records.js", "connection.js", "commands.js", "counter.js", "model.js"} {
		if stored.MatchString(read(t, entry)) {
			t.Errorf("%s stores something", entry)
		}
	}
}
