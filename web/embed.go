// Package web carries the browser client's built files. The client itself is TypeScript (src); `make build` puts what is
// served into dist.
package web

import (
	"embed"
	"io/fs"
)

// The pattern finds dist where the client has been built, and in any case this file, so that Go code compiles without it.
//
//go:embed all:[de]*[to]
var files embed.FS

// Client returns the client's files, and false if it was not built.
func Client() (fs.FS, bool) {
	if _, err := fs.Stat(files, "dist/index.html"); err != nil {
		return nil, false
	}
	client, err := fs.Sub(files, "dist")
	return client, err == nil
}
