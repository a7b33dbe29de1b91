package rest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/weirstream/weir/client/api"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ms":    func(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() },
	"bytes": humanBytes,
	"time":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"lower": strings.ToLower,
}).Parse(pageText))

// pagePolicy allows the one style sheet in the page and nothing else: no scripts, no
// requests, no frames.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		base64.StdEncoding.EncodeToString(sum[:]))
}()

type pageData struct {
	Style    template.CSS
	Overview api.Overview
	Version  string
	Now      time.Time
	Jobs     []*api.Job
}

// page lists jobs and their checkpoints for people.
func (s *Server) page(w http.ResponseWriter, r *http.Request) error {
	o, err := s.opts.Cluster.Overview(r.Context())
	if err != nil {
		return err
	}
	jobs, err := s.opts.Cluster.Jobs(r.Context())
	if err != nil {
		return err
	}
	var b strings.Builder
	data := pageData{template.CSS(pageStyle), o, s.opts.Version, s.now(), jobs}
	if err := pageTemplate.Execute(&b, data); err != nil {
		return fmt.Errorf("write page of %d jobs: %w", len(jobs), err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	fmt.Fprint(w, b.String())
	return nil
}

// humanBytes writes n in the unit that leaves one to four digits.
func humanBytes(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/(1<<10), 0
	for f >= 1<<10 && u < len(units)-1 {
		f, u = f/(1<<10), u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
