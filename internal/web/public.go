package web

import (
	_ "embed"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

//go:embed assets/style.css
var style []byte

// maxBody bounds the body of a stranger's request, of which none is read.
const maxBody = 4 << 10

// Public serves the address of [web]: the page and its JSON, metrics and a
// health check. Nothing of it names a rig, an address or a file.
func Public(metrics prometheus.Gatherer, s Source) http.Handler {
	shown := &looks{source: s}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if status := s.Status(); !mines(&status) {
			http.Error(w, "no healthy node, no fresh template or no job of it: look at `cordee status`", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // a client that left is not our error
	})
	mux.HandleFunc("GET /api/pool", func(w http.ResponseWriter, _ *http.Request) { reply(w, shown.now().Pool) })
	mux.HandleFunc("GET /api/members", func(w http.ResponseWriter, _ *http.Request) { reply(w, shown.now().Members) })
	mux.HandleFunc("GET /api/blocks", func(w http.ResponseWriter, _ *http.Request) { reply(w, shown.now().Blocks) })
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(style) // likewise
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		lang := languageOf(r.URL.Query().Get("lang"), r.Header.Get("Accept-Language"))
		b, err := shown.page(lang)
		if err != nil { // our defect
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Language", lang.Code)
		w.Header().Set("Vary", "Accept-Language")
		_, _ = w.Write(b) // likewise
	})
	return http.MaxBytesHandler(secured(mux), maxBody)
}

// secured sets what browsers are asked for on every answer, errors too. There
// is no script, and nothing comes from elsewhere.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
