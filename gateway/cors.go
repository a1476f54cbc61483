package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// CheckOrigin refuses what no browser calls the origin of a page: it wants scheme://host or scheme://host:port.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return fmt.Errorf("%q is no origin; want one like https://dashboard.example", origin)
	}
	return nil
}

// What pages of other origins may send, and what they may read of an answer beside its body.
const (
	corsMethods = "GET, POST, PUT, PATCH, DELETE"
	corsHeaders = "Accept, Content-Type, X-Auth-Token, X-Subject-Token"
	corsExposed = "Retry-After, X-Openstack-Request-Id, X-Subject-Token"
	corsSeconds = "600"
)

// allowOrigins lets pages of these origins call next from a browser. Nothing goes by cookies, so a page has nothing that its user has not given
// it: credentials are not allowed. Without origins, and for others, it does nothing, and browsers keep answers from pages.
func allowOrigins(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, origin := w.Header(), r.Header.Get("Origin")
		h.Add("Vary", "Origin")
		if !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", corsMethods)
			h.Set("Access-Control-Allow-Headers", corsHeaders)
			h.Set("Access-Control-Max-Age", corsSeconds)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", corsExposed)
		next.ServeHTTP(w, r)
	})
}
