package identity

import (
	"net/http"
	"strings"
	"time"
)

// The one domain.
const (
	domainID   = "default"
	domainName = "Default"
)

type object = map[string]any

// stamp writes a time as Keystone does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

var domain = object{"id": domainID, "name": domainName}

// versions answers GET of the root: clients choose from it.
func (s *Service) versions(r *request) (reply, error) {
	return reply{status: http.StatusMultipleChoices, body: object{"versions": object{"values": []object{s.v3(r)}}}}, nil
}

// version answers GET /v3.
func (s *Service) version(r *request) (reply, error) { return ok(object{"version": s.v3(r)}) }

func (s *Service) v3(r *request) object {
	return object{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []object{{"rel": "self", "href": r.url("/v3/")}},
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

// tokenBody is what a client is told of a token.
func (s *Service) tokenBody(r *request, g grant) object {
	token := object{
		"methods":    g.methods,
		"user":       object{"id": g.UserID, "name": g.UserName, "domain": domain, "password_expires_at": nil},
		"audit_ids":  []string{},
		"issued_at":  stamp(g.issued),
		"expires_at": stamp(g.Expires),
	}
	if g.scoped() {
		token["project"] = object{"id": g.Project, "name": g.ProjectName, "domain": domain}
		token["is_domain"] = false
		token["roles"] = roleRefs(g.Roles)
		if !r.query.Has("nocatalog") {
			token["catalog"] = s.catalog(r, g.Project)
		}
	}
	return object{"token": token}
}

// catalog tells where the services are.
func (s *Service) catalog(r *request, project string) []object {
	return []object{
		s.catalogEntry("database", "trove", r.base+"/v1.0/"+project),
		s.catalogEntry("identity", "keystone", r.url("/v3")),
	}
}

// catalogEntry lists one address under the three interfaces, of which clients ask for one or another.
func (s *Service) catalogEntry(kind, name, url string) object {
	var endpoints []object
	for _, face := range []string{"public", "internal", "admin"} {
		endpoints = append(endpoints, object{
			"id": kind + "-" + face, "interface": face, "region": s.cfg.Region, "region_id": s.cfg.Region, "url": url,
		})
	}
	return object{"id": kind, "type": kind, "name": name, "endpoints": endpoints}
}

// showCatalog answers GET /v3/auth/catalog.
func (s *Service) showCatalog(r *request) (reply, error) {
	if !r.who.scoped() {
		return reply{}, faultf(http.StatusForbidden, "The token is for no project, and so has no catalog.")
	}
	return ok(object{"catalog": s.catalog(r, r.who.Project), "links": object{"self": r.url("/v3/auth/catalog")}})
}

func domainBody(r *request) object {
	return object{
		"id": domainID, "name": domainName, "enabled": true, "description": "The only domain",
		"options": object{}, "tags": []string{}, "links": object{"self": r.url("/v3/domains/" + domainID)},
	}
}

// listDomains answers GET /v3/domains.
func (s *Service) listDomains(r *request) (reply, error) {
	domains := []object{}
	if name := r.query.Get("name"); name == "" || strings.EqualFold(name, domainName) {
		domains = append(domains, domainBody(r))
	}
	return ok(r.list("domains", domains))
}

// showDomain answers GET /v3/domains/{domain}.
func (s *Service) showDomain(r *request) (reply, error) {
	if id := r.PathValue("domain"); id != domainID {
		return reply{}, faultf(http.StatusNotFound, "Could not find domain: %s.", id)
	}
	return ok(object{"domain": domainBody(r)})
}

// list is the answer to a list; all of it is one page.
func (r *request) list(what string, entries []object) object {
	return object{what: entries, "links": object{"self": r.base + r.URL.Path, "previous": nil, "next": nil}}
}
