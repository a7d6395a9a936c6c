// Package web holds the counter page: the screen of a hospital's billing desk
// as static files, served by the local service at "/".
//
// The page has no framework, no build step and asks nobody but the service
// that serves it. It shows the state document that the service publishes on
// /v1/events; what a clerk does goes to the service as separate calls. The page
// keeps nothing but the chosen language, and it has no field for a PIN: it asks
// the service to ask the PIN pad.
//
// Whoever serves the files sends [ContentSecurityPolicy] with every one of them:
//
//	page := http.FileServerFS(web.Files())
//	w.Header().Set("Content-Security-Policy", web.ContentSecurityPolicy)
//	page.ServeHTTP(w, r)
//
// The files under static/ are:
//
//	index.html   the whole structure; scripts fill and show parts of it
//	counter.js   start, views, steps, focus, keys
//	connection.js, commands.js   state in, commands out
//	card.js, records.js, visit.js, fees.js, paste.js, trial.js, receipt.js,
//	journal.js, resolve.js, health.js   one part of the screen each
//	money.js, dom.js, language.js   exact amounts, elements, texts
//	messages.zh.json, messages.en.json   every sentence of the page
//	counter.css, print.css       the screen, the receipt on paper
package web

import (
	"embed"
	"io/fs"
)

// ContentSecurityPolicy is the policy under which the page works; the service
// sends it with every file. Nothing but the service's own files, calls and
// WebSocket is allowed.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
	"connect-src 'self'; img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

//go:embed static
var static embed.FS

// Files returns the page: index.html and what it names, all at the root.
func Files() fs.FS {
	files, err := fs.Sub(static, "static")
	if err != nil {
		// fs.Sub fails only for a malformed name, and this one is a constant.
		panic("web: " + err.Error())
	}
	return files
}
