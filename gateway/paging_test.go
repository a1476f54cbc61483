package gateway_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// pagers are the ways from one page to the next that clients have: what each makes of a next link's path and query.
var pagers = []struct {
	name  string
	next  func(link *url.URL) string
	pairs bool // tells names apart of which one is the other, quoted
}{
	{"the link as it is, as gophercloud", func(link *url.URL) string { return link.Path + "?" + link.RawQuery }, true},
	{"the link's query read and written again, as openstacksdk", func(link *url.URL) string { return link.Path + "?" + link.Query().Encode() }, true},
	{"the marker alone, as it was read, as python-troveclient", func(link *url.URL) string {
		return link.Path + "?limit=1&marker=" + link.Query().Get("marker")
	}, true},
	{"the marker alone, quoted again", func(link *url.URL) string {
		return link.Path + "?limit=1&marker=" + url.QueryEscape(link.Query().Get("marker"))
	}, false},
}

// pagedNames end with every printable character of ASCII, and with some beyond; paired ones are quoted forms of others.
func pagedNames() (plain, paired []string) {
	for c := ' '; c <= '~'; c++ {
		plain = append(plain, "b"+string(c))
	}
	plain = append(plain, "é", "数据库", "😀", "b%cent", "b%%", "a+b&c=d#e", "b%zz", "b;c?d", "../..")
	return plain, []string{"a b", "a%20b", "a%2520b", "a+b", "x%1", "x%251", "é%C3%A9", "éé", "%41", "A"}
}

// TestPagingEnds goes through databases and users with one on each page, so that each name is a marker: every name comes
// once, whatever it is, whichever way a client goes from page to page.
func TestPagingEnds(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	plain, paired := pagedNames()
	makeAll(t, c, at, plain)
	for _, list := range []string{"databases", "users"} {
		for _, pager := range pagers {
			t.Run(list+"/"+pager.name, func(t *testing.T) { pageThrough(t, c, at+"/"+list, pager.next, plain) })
		}
	}
	id = c.Create(t, "pairs", "")
	c.Await(t, id, "ACTIVE", soon)
	at = gatewaytest.Instance(id)
	makeAll(t, c, at, paired)
	for _, list := range []string{"databases", "users"} {
		for _, pager := range pagers {
			if pager.pairs {
				t.Run("pairs of "+list+"/"+pager.name, func(t *testing.T) { pageThrough(t, c, at+"/"+list, pager.next, paired) })
			}
		}
	}
}

// makeAll makes databases and users of the names.
func makeAll(t *testing.T, c gatewaytest.Client, at string, names []string) {
	t.Helper()
	var dbs, users []map[string]string
	for _, name := range names {
		dbs = append(dbs, map[string]string{"name": name})
		users = append(users, map[string]string{"name": name, "password": "s3cret"})
	}
	for list, items := range map[string][]map[string]string{"databases": dbs, "users": users} {
		body, err := json.Marshal(map[string]any{list: items})
		if err != nil {
			t.Fatal(err)
		}
		c.Want(t, 202, http.MethodPost, at+"/"+list, string(body))
	}
}

func pageThrough(t *testing.T, c gatewaytest.Client, path string, next func(*url.URL) string, want []string) {
	_, list, _ := strings.Cut(strings.TrimPrefix(path, "/instances/"), "/")
	var got []string
	for path += "?limit=1"; path != ""; {
		a := c.Want(t, 200, http.MethodGet, path, "")
		got = append(got, a.Text(list, 0, "name"))
		if len(got) > len(want) {
			t.Fatalf("paging does not end; the last of its pages are of %q", got[len(got)-5:])
		}
		href := a.Text("links", 0, "href")
		if path = ""; href == "" {
			break
		}
		link, err := url.Parse(href)
		if err != nil {
			t.Fatal(err)
		}
		path = strings.TrimPrefix(next(link), "/v1.0/"+c.Project)
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
		t.Errorf("the pages hold (-want +got):\n%s", diff)
	}
}

// TestMarkersOfClients: the last item's name alone is a user's marker for openstacksdk, which asks again after the last page;
// and what a link holds is quoted as Trove's own tests expect it.
func TestMarkersOfClients(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "db", `,"users":[{"name":"ann","password":"s3cret"},{"name":"bob b","password":"s3cret"},{"name":"cid","password":"s3cret"}]`)
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id) + "/users"
	for marker, want := range map[string]string{"ann": "bob b", "ann%40%25": "bob b", "bob%20b": "cid", "cid": "", "cid%40%25": ""} {
		if got := c.Want(t, 200, http.MethodGet, at+"?marker="+marker, "").Text("users", 0, "name"); got != want {
			t.Errorf("after %s there is %q, want %q", marker, got, want)
		}
	}
	link, err := url.Parse(c.Want(t, 200, http.MethodGet, at+"?limit=2", "").Text("links", 0, "href"))
	if err != nil || link.Query().Get("marker") != "bob%20b%40%25" {
		t.Errorf("the link is %s, %v", link, err)
	}
}

// TestNextLinksKeepTheQuery: who follows them stays with what was asked for.
func TestNextLinksKeepTheQuery(t *testing.T) {
	_, g, _ := start(t)
	owner, admin := g.Client(gatewaytest.Other), g.Client(gatewaytest.Admin)
	owner.Project = "p2"
	for _, c := range []gatewaytest.Client{g.Client(gatewaytest.Member), owner} {
		for range 2 {
			id := c.Create(t, "db", "")
			c.Await(t, id, "ACTIVE", soon)
			for range 2 {
				c.Want(t, 202, http.MethodPost, "/backups", `{"backup":{"name":"b","instance":"`+id+`"}}`)
				c.Await(t, id, "ACTIVE", soon)
			}
		}
		c.Want(t, 200, http.MethodPost, "/configurations", `{"configuration":{"name":"g","values":{"max_connections":7},"datastore":{"type":"memory","version":"1"}}}`)
	}
	one := owner.Want(t, 200, http.MethodGet, "/instances", "").Text("instances", 0, "id")
	for path, want := range map[string]int{
		"/backups?all_projects=true": 8, "/backups": 4, "/backups?project_id=p2": 4, "/backups?all_projects=1&instance_id=" + one: 2,
		"/backups?all_projects=1&datastore=memory": 8, "/backups?all_projects=1&datastore=redis": 0,
		"/mgmt/instances?deleted=False": 4, "/mgmt/instances?project_id=p2": 2, "/configurations": 2, "/instances?include_clustered=False": 2,
	} {
		list := strings.TrimPrefix(path, "/mgmt")
		list = strings.Split(strings.TrimPrefix(list, "/"), "?")[0]
		for _, marker := range []bool{false, true} {
			if got := len(follow(t, admin, path, list, marker)); got != want {
				t.Errorf("over all pages of %s there are %d, want %d (the marker alone taken from links: %v)", path, got, want, marker)
			}
		}
	}
	// A marker of another project's may be the id that clients have seen.
	all := follow(t, admin, "/mgmt/instances", "instances", false)
	for i, id := range all {
		a := admin.Want(t, 200, http.MethodGet, "/mgmt/instances?limit=1&marker="+id, "")
		if i+1 < len(all) && a.Text("instances", 0, "id") != all[i+1] || i+1 == len(all) && a.At("instances", 0) != nil {
			t.Errorf("after %s there is %s, want %s", id, a.Body, all[i+1:])
		}
	}
	admin.Want(t, 400, http.MethodGet, "/mgmt/instances?marker=nothing", "")
}

// follow returns the ids on all pages of one item each.
func follow(t *testing.T, c gatewaytest.Client, path, list string, markerOnly bool) (ids []string) {
	t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	for next := path + sep + "limit=1"; next != "" && len(ids) < 50; {
		a := c.Want(t, 200, http.MethodGet, next, "")
		if id := a.Text(list, 0, "id"); id != "" {
			ids = append(ids, id)
		}
		link, err := url.Parse(a.Text("links", 0, "href"))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case link.Path == "":
			next = ""
		case markerOnly:
			next = path + sep + "limit=1&marker=" + link.Query().Get("marker")
		default:
			next = strings.TrimPrefix(link.Path+"?"+link.RawQuery, "/v1.0/"+c.Project)
		}
	}
	return ids
}
