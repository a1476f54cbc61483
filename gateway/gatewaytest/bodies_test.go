package gatewaytest_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// bodyRoute is a route that reads a body, with one that it takes.
type bodyRoute struct {
	client             gatewaytest.Client
	method, path, body string
}

// bodyRoutes are all that there are, with an instance to use them on. They are asked by an admin; creates by a member of
// a project without quota, which is looked at last.
func (s *stage) bodyRoutes(t *testing.T, instance string) []bodyRoute {
	s.admin.Want(t, http.StatusOK, http.MethodPut, "/mgmt/quotas/p2", `{"quotas":{"instances":0}}`)
	poor, admin := s.admin, s.admin
	poor.Token, poor.Project = gatewaytest.Other, "p2"
	at := gatewaytest.Instance(instance)
	nobody := "01234567-89ab-7cde-8f01-23456789abcd"
	return []bodyRoute{
		{poor, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":"1","volume":{"size":1,"type":null},"datastore":{"type":"mariadb","version":"10.11"},"databases":[{"name":"a","character_set":"utf8","collate":"utf8_bin"}],"users":[{"name":"u","password":"p","host":"%","databases":[{"name":"a"}]}],"access":{"is_public":false,"allowed_cidrs":["10.0.0.0/8"]},"nics":[],"configuration":null,"modules":[],"locality":"affinity","user_data":false}}`},
		{admin, http.MethodPut, at, `{"instance":{"name":"x","configuration":null}}`},
		{admin, http.MethodPatch, at, `{"instance":{"name":"x"}}`},
		{admin, http.MethodPost, at + "/action", `{"reset_status":{"force_delete":true}}`},
		{admin, http.MethodPost, at + "/action", `{"restart":{}}`},
		{admin, http.MethodPost, at + "/databases", `{"databases":[{"name":"a","character_set":"utf8","collate":"utf8_bin"}]}`},
		{admin, http.MethodPost, at + "/users", `{"users":[{"name":"u","password":"p","host":"%","databases":[{"name":"a"}]}]}`},
		{admin, http.MethodPut, at + "/users", `{"users":[{"name":"u","password":"p","host":"%"}]}`},
		{admin, http.MethodPut, at + "/users/nobody", `{"user":{"name":"v","password":"p","host":"%"}}`},
		{admin, http.MethodPut, at + "/users/nobody/databases", `{"databases":[{"name":"a"}]}`},
		{admin, http.MethodPost, at + "/root", `{"password":"p"}`},
		{admin, http.MethodPut, "/mgmt/quotas/p9", `{"quotas":{"instances":1,"volumes":1}}`},
		{admin, http.MethodPost, "/mgmt/instances/" + instance + "/action", `{"stop":{}}`},
		{admin, http.MethodPatch, "/mgmt/hosts/" + nobody, `{"host":{"disabled":true}}`},
		{admin, http.MethodPost, "/mgmt/enrolments", `{"enrolment":{"host":"` + nobody + `"}}`},
		{admin, http.MethodPost, at + "/action", `{"resize":{"volume":{"size":2}}}`},
		{admin, http.MethodPost, at + "/log", `{"name":"redis","publish":1}`},
		{poor, http.MethodPost, "/backups", `{"backup":{"name":"b","instance":"` + nobody + `","description":"d","parent_id":"` + nobody + `","incremental":1,"swift_container":"c"}}`},
		{admin, http.MethodPost, "/backups/" + nobody + "/action", `{"cancel":{}}`},
		{poor, http.MethodPost, "/backup_strategies", `{"backup_strategy":{"swift_container":"c","instance_id":"` + nobody + `"}}`},
		{poor, http.MethodPost, "/configurations", `{"configuration":{"name":"g","description":"d","values":{"maxclients":7},"datastore":{"type":"redis","version":"9"}}}`},
		{admin, http.MethodPut, "/configurations/" + nobody, `{"configuration":{"name":"g","description":"d","values":{"maxclients":7}}}`},
		{admin, http.MethodPatch, "/configurations/" + nobody, `{"configuration":{"values":{"maxclients":7}}}`},
		{admin, http.MethodPost, "/mgmt/datastores/versions/" + nobody + "/parameters", `{"configuration-parameter":{"name":"x","restart_required":0,"data_type":"string"}}`},
		{admin, http.MethodPost, "/mgmt/agents/" + nobody + "/unlock", `{}`},
	}
}

// testBodies sends what is not a body of the API to every route that takes one. Nothing of it may be taken, nor be more
// than the gateway can answer.
func testBodies(t *testing.T, s *stage) {
	_, id, _ := s.create(t, redisStore, "")
	for _, route := range s.bodyRoutes(t, id) {
		optional := strings.HasSuffix(route.path, "/root") || strings.HasSuffix(route.path, "/enrolments")
		none := strings.HasSuffix(route.path, "/unlock") // reads no body at all
		for _, bad := range []struct {
			name, contentType, body string
			fine                    bool // it may be taken by a route whose body is optional
		}{
			{name: "nothing", fine: true},
			{name: "an empty object", body: `{}`, fine: true},
			{name: "no content type", contentType: "-", body: route.body, fine: true},
			{name: "null", body: `null`, fine: true},
			{name: "an array", body: `[]`},
			{name: "an array of bodies", body: `[` + route.body + `]`},
			{name: "a string", body: `"x"`},
			{name: "a number", body: `1`},
			{name: "text", body: `instance=x`},
			{name: "half a body", body: route.body[:len(route.body)/2]},
			{name: "two bodies", body: route.body + route.body},
			{name: "not UTF-8", body: "{\"\xff\xfe\":\"\xff\"}", fine: true},
			{name: "a form", contentType: "application/x-www-form-urlencoded", body: route.body},
			{name: "XML", contentType: "text/xml", body: `<instance/>`},
			{name: "no type of content", contentType: ";;;", body: route.body},
			{name: "2 MiB of blanks", body: strings.Repeat(" ", 2<<20) + route.body},
			{name: "2 MiB in a string", body: `{"x":"` + strings.Repeat("x", 2<<20) + `"}`},
			{name: "deep arrays", body: strings.Repeat("[", 400_000)},
			{name: "deep objects", body: strings.Repeat(`{"instance":`, 40_000) + `1` + strings.Repeat("}", 40_000), fine: true},
		} {
			a := send(t, route.client, route.method, route.path, bad.contentType, bad.body)
			taken := a.Status < 300 && (none || optional && bad.fine)
			if !taken && !isFault(a) {
				t.Errorf("%s %s with %s: %d: %.300s", route.method, route.path, bad.name, a.Status, a.Body)
			}
		}
		if none {
			continue
		}
		for _, body := range spoiled(route.body) {
			a := send(t, route.client, route.method, route.path, "", body)
			// What is optional, ignored or of several types may be taken; but nothing may go wrong.
			if a.Status >= 300 && !isFault(a) {
				t.Errorf("%s %s with %s: %d: %.300s", route.method, route.path, body, a.Status, a.Body)
			}
		}
	}
}

// isFault reports whether an answer is a refusal in Trove's envelope. 501 is one; other failures of the server are not.
func isFault(a gatewaytest.Answer) bool {
	clients := a.Status >= 400 && a.Status < 500 || a.Status == http.StatusNotImplemented
	var envelope map[string]any
	envelope, _ = a.At().(map[string]any)
	if !clients || len(envelope) != 1 {
		return false
	}
	for _, fault := range envelope {
		f, _ := fault.(map[string]any)
		message, _ := f["message"].(string)
		return f["code"] == float64(a.Status) && message != ""
	}
	return false
}

// spoiled are bodies with one of the values replaced by one of another type.
func spoiled(body string) []string {
	var all []string
	for i := 0; i < len(body); i++ {
		if body[i] != ':' || strings.Count(body[:i], `"`)%2 == 1 {
			continue
		}
		end := valueEnd(body, i+1)
		for _, other := range []string{`null`, `1`, `-1`, `1e400`, `99999999999999999999`, `1.5`, `true`, `""`, `"x"`, `[]`, `[1]`, `[[]]`, `[null]`, `{}`, `{"x":1}`} {
			if other != body[i+1:end] {
				all = append(all, body[:i+1]+other+body[end:])
			}
		}
	}
	return all
}

// valueEnd is where the JSON value that begins at start ends.
func valueEnd(body string, start int) int {
	depth, inString := 0, false
	for i := start; i < len(body); i++ {
		switch c := body[i]; {
		case c == '"':
			inString = !inString
		case inString:
		case slices.Contains([]byte("[{"), c):
			depth++
		case slices.Contains([]byte("]},"), c) && depth == 0:
			return i
		case slices.Contains([]byte("]}"), c):
			depth--
		}
	}
	return len(body)
}

// send is Client.Do with any content type; "" is JSON, "-" none.
func send(t *testing.T, c gatewaytest.Client, method, path, contentType, body string) gatewaytest.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+"/v1.0/"+c.Project+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", c.Token)
	switch contentType {
	case "":
		req.Header.Set("Content-Type", "application/json")
	case "-":
	default:
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return gatewaytest.Answer{}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(fmt.Errorf("%s %s: %w", method, path, err))
	}
	return gatewaytest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: text}
}
