package api

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/gateway/limits"
)

// link is a link as Trove writes it.
type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// PublicURL tells the scheme and host that a client used. A proxy's word for them counts when proxies are trusted.
func PublicURL(trustProxy bool) func(*http.Request) string {
	return func(req *http.Request) string {
		scheme, host := "http", req.Host
		if req.TLS != nil {
			scheme = "https"
		}
		if trustProxy {
			if s := req.Header.Get("X-Forwarded-Proto"); s == "http" || s == "https" {
				scheme = s
			}
			if h := req.Header.Get("X-Forwarded-Host"); h != "" {
				host = h
			}
		}
		return scheme + "://" + host
	}
}

// RemoteIP tells which address a client has. A proxy's word for it counts when proxies are trusted.
func RemoteIP(trustProxy bool) func(*http.Request) string {
	return func(req *http.Request) string {
		if trustProxy {
			hops := strings.Split(req.Header.Get("X-Forwarded-For"), ",")
			if last := strings.TrimSpace(hops[len(hops)-1]); net.ParseIP(last) != nil {
				return last // what the proxy itself has seen; what stands before it anybody may have written
			}
		}
		return limits.AddressOf(req.RemoteAddr)
	}
}

func (a *API) base(req *http.Request) string { return PublicURL(a.TrustProxy)(req) }

// links are the two that every resource has, in the project of the request's path: a client can follow them with its token.
// path is such as "instances/<id>".
func (a *API) links(r *request, path string) []link {
	base := a.base(r.echo.Request())
	return []link{{"self", base + "/v1.0/" + r.param("project") + "/" + path}, {"bookmark", base + "/" + path}}
}

// nextLink is the link to the page after marker: none when marker is "". It keeps what else the query asks for.
func (a *API) nextLink(r *request, marker string, limit int) []link {
	if marker == "" {
		return nil
	}
	q := r.echo.Request().URL.Query()
	q.Del(plainMarker)
	q.Set("limit", strconv.Itoa(limit))
	q.Set("marker", quote(marker))
	if q.Get("marker") != marker {
		q.Set(plainMarker, marker)
	}
	return []link{{"next", a.base(r.echo.Request()) + r.echo.Request().URL.EscapedPath() + "?" + q.Encode()}}
}

// listBody is a list with its next link under both names: Trove's `links` and gophercloud's `<name>_links`.
func listBody(name string, items any, next []link) map[string]any {
	body := map[string]any{name: items}
	if len(next) > 0 {
		body["links"], body[name+"_links"] = next, next
	}
	return body
}

// versions answers GET /.
func (a *API) versions(r *request) (reply, error) {
	return reply{http.StatusOK, map[string]any{"versions": []any{a.versionDocument(r.echo)}}}, nil
}

// version answers GET /v1.0.
func (a *API) version(r *request) (reply, error) {
	return reply{http.StatusOK, map[string]any{"version": a.versionDocument(r.echo)}}, nil
}

func (a *API) versionDocument(c echo.Context) map[string]any {
	return map[string]any{
		"id": "v1.0", "status": "CURRENT", "updated": "2012-08-01T00:00:00Z",
		"links": []link{{"self", a.base(c.Request()) + "/v1.0/"}},
	}
}
