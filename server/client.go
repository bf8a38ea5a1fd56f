package server

import (
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"conclave"
)

// clientFiles serves the web client. All of it is in memory: nothing a request names is looked up anywhere else. A file
// with .br or .gz beside it is sent so to whoever takes it.
type clientFiles struct {
	files map[string]clientFile // by path, with / in front
}

type clientFile struct {
	kind            string
	plain, gzip, br []byte
}

// page is the client's one page; it is also what lies behind every meeting's link.
const page = "/index.html"

func newClientFiles(files fs.FS) *clientFiles {
	c := &clientFiles{files: map[string]clientFile{}}
	// The file system is ours, embedded: an error is an absent client.
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil
		}
		base, pack := name, ""
		if ext := path.Ext(name); ext == ".br" || ext == ".gz" {
			base, pack = strings.TrimSuffix(name, ext), ext
		}
		f := c.files["/"+base]
		f.kind = kindOf(base)
		switch pack {
		case ".br":
			f.br = b
		case ".gz":
			f.gzip = b
		default:
			f.plain = b
		}
		c.files["/"+base] = f
		return nil
	})
	return c
}

func kindOf(name string) string {
	switch path.Ext(name) {
	case ".wasm":
		return "application/wasm"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".woff2":
		return "font/woff2"
	}
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// ServeHTTP implements http.Handler for GET and HEAD.
func (c *clientFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path
	for _, kind := range []string{"/m/", "/g/"} { // meetings, and guests' invitations to them
		pointer, ok := strings.CutPrefix(name, kind)
		// Any well-formed pointer gets the page: whether there is such a meeting is not told here.
		if _, err := conclave.ParseMeetingID(pointer); ok && err == nil {
			name = page
		}
	}
	if name == "/" || name == "/devices" || name == "/ready" {
		name = page
	}
	status := http.StatusOK
	if _, ok := c.files[name]; !ok && mistyped(name) {
		// A link that somebody mistyped: the page says so, and what to do.
		name, status = page, http.StatusNotFound
	}
	f, ok := c.files[name]
	if !ok || f.plain == nil || r.Method == http.MethodPost {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	if strings.HasPrefix(name, "/assets/") {
		h.Set("Cache-Control", "public, max-age=31536000, immutable") // their names hold a hash of their content
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	body := f.plain
	switch accepted := r.Header.Get("Accept-Encoding"); {
	case f.br != nil && accepts(accepted, "br"):
		body = f.br
		h.Set("Content-Encoding", "br")
	case f.gzip != nil && accepts(accepted, "gzip"):
		body = f.gzip
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// mistyped says whether a path that leads nowhere may be a person's: no file's, and none of a program's.
func mistyped(name string) bool {
	return path.Ext(name) == "" && !strings.HasPrefix(name, "/assets/") && !strings.HasPrefix(name, "/v1/")
}

// accepts reads Accept-Encoding (RFC 9110, Section 12.5.3) as far as it matters: a coding that is named and not refused.
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(name) == coding {
			q = strings.TrimPrefix(strings.TrimSpace(q), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return q == "" || err == nil && weight > 0
		}
	}
	return false
}
