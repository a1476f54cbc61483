package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestOrigins asks as browsers do for pages of an origin that is allowed, of another one, and for none.
func TestOrigins(t *testing.T) {
	served := 0
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
	const ours, theirs = "https://dashboard.example", "https://dashboard.example.evil"
	for _, c := range []struct {
		origins        []string
		method, origin string
		allows         string
		served         int
	}{
		{nil, http.MethodOptions, ours, "", 1},
		{[]string{ours}, http.MethodOptions, ours, ours, 0},
		{[]string{ours}, http.MethodOptions, theirs, "", 1},
		{[]string{ours}, http.MethodPost, ours, ours, 1},
		{[]string{ours}, http.MethodPost, theirs, "", 1},
		{[]string{ours}, http.MethodPost, "", "", 1},
	} {
		served = 0
		r, w := httptest.NewRequest(c.method, "/v1.0/p1/instances", nil), httptest.NewRecorder()
		r.Header.Set("Origin", c.origin)
		if c.method == http.MethodOptions {
			r.Header.Set("Access-Control-Request-Method", http.MethodDelete)
		}
		allowOrigins(c.origins, next).ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.allows || served != c.served || w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%v: %s of %q: allows %q, served %d times", c.origins, c.method, c.origin, got, served)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	for origin, good := range map[string]bool{
		"https://a.example": true, "http://127.0.0.1:8080": true, "*": false, "null": false, "a.example": false, "https://a.example/": false, "ftp://a": false, "https://u@a": false,
	} {
		if err := CheckOrigin(origin); (err == nil) != good {
			t.Errorf("%s: %v", origin, err)
		}
	}
}
