package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
)

const pageSize = 20 // Trove's, of every paginated list

// request is one client's request, admitted.
type request struct {
	control.Caller // of the path's project and of the token, but for admins (locate)
	echo           echo.Context
	ctx            context.Context
}

// newRequest is a client's request that nobody has admitted yet.
func newRequest(c echo.Context, project string) *request {
	caller := control.Caller{Project: project, Request: requestID(c)}
	if id := c.Request().Header.Get("Traceparent"); traceparents.MatchString(id) {
		caller.Traceparent = id
	}
	return &request{Caller: caller, echo: c, ctx: c.Request().Context()}
}

// param is a part of the path, unescaped: echo matches the raw path when the client has escaped more than it must, as
// for the @ in a user's name, and then leaves its parts as they are.
func (r *request) param(name string) string {
	value := r.echo.Param(name)
	if r.echo.Request().URL.RawPath == "" {
		return value
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

func (r *request) query(name string) string { return r.echo.QueryParam(name) }

// traceparents are those of W3C Trace Context.
var traceparents = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// requestID is the id that a middleware has given the request.
func requestID(c echo.Context) string { return c.Response().Header().Get(headerRequestID) }

const headerRequestID = "X-Openstack-Request-Id"

// acceptable refuses a version of the API that is not there, asked for by Trove's media type.
func (r *request) acceptable() error {
	for _, one := range strings.Split(r.echo.Request().Header.Get("Accept"), ",") {
		media, params, err := mime.ParseMediaType(one)
		if v := params["version"]; err == nil && media == "application/vnd.openstack.trove+json" && v != "" && v != "1.0" {
			return fault.Errorf(fault.NotAcceptable, "There is no version %s of the API; there is 1.0.", v)
		}
	}
	return nil
}

// decode reads a JSON body into T. As in Trove, a body without a Content-Type is not read, and unknown keys are ignored.
func decode[T any](r *request) (T, error) {
	var v T
	req := r.echo.Request()
	contentType := req.Header.Get("Content-Type")
	if contentType == "" {
		return v, nil
	}
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
		return v, fault.Errorf(fault.BadMediaType, "Content-Type %q is not supported; send application/json.", contentType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.echo.Response(), req.Body, limits.MaxRequestBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return v, limits.Over("body", fault.OverLimit, "The request body has more than %d bytes.", limits.MaxRequestBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return v, limits.Over("body_seconds", fault.TooSlow, "The request body did not come to its end in time.")
	case err != nil:
		return v, fault.Errorf(fault.BadRequest, "The request body could not be read.")
	case len(body) == 0:
		return v, nil
	}
	if tooMany(body) {
		return v, limits.Over("entries", fault.OverLimit, "The lists of the request body hold more than %d entries; make several requests.", limits.MaxEntries)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return v, fault.Errorf(fault.BadRequest, "Validation error: %s: want a %s, not a %s.", wrongType.Field, wrongType.Type, wrongType.Value)
		}
		var own *fault.Error
		if errors.As(err, &own) {
			return v, own
		}
		return v, fault.Errorf(fault.BadRequest, "Malformed request body: %v.", err)
	}
	return v, nil
}

// tooMany reports whether the lists of a body of JSON hold more than maxEntries. What is wrong with it otherwise is not looked at.
func tooMany(body []byte) bool {
	entries, lists := 0, []bool{} // whether each bracket that is open is a list's
	for d := json.NewDecoder(bytes.NewReader(body)); entries <= limits.MaxEntries; {
		token, err := d.Token()
		if err != nil {
			return false
		}
		bracket, _ := token.(json.Delim)
		if bracket == ']' || bracket == '}' {
			lists = lists[:len(lists)-1]
			continue
		}
		if len(lists) > 0 && lists[len(lists)-1] {
			entries++
		}
		if bracket != 0 {
			lists = append(lists, bracket == '[')
		}
	}
	return true
}

// answer has a route's handler answer, or foresees what that would do when the query says dry_run.
func (a *API) answer(rt route, r *request) (reply, error) {
	if !r.echo.QueryParams().Has("dry_run") || rt.method == http.MethodGet {
		return rt.handle(a, r)
	}
	asked := r.query("dry_run")
	dry, err := strconv.ParseBool(asked)
	if err != nil {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: dry_run=%q; want true or false.", asked)
	}
	if !dry {
		return rt.handle(a, r)
	}
	var seen *control.Foreseen
	r.ctx, seen = control.DryRun(r.ctx)
	if rep, err := rt.handle(a, r); len(seen.Would) == 0 && (err != nil || rep.body == written{}) {
		return rep, err
	}
	return reply{http.StatusOK, map[string]any{"plan": foresight(r, seen)}}, nil
}

// page reads the query's limit and marker. A limit above the page size counts as the page size.
func (r *request) page() (limit int, marker string, err error) {
	limit = pageSize
	if s := r.query("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return 0, "", fault.Errorf(fault.BadRequest, "limit %q is not a number of 0 or more.", s)
		}
		if n > 0 {
			limit = min(n, pageSize)
		}
	}
	return limit, r.marker(), nil
}

// marker is where the page begins. A next link holds it quoted, as Trove's does: python-troveclient puts what it reads from the
// link into a URL as it is. Who follows the link itself sends it quoted once too often, with the plain one beside it.
func (r *request) marker() string {
	marker, plain := r.query("marker"), r.query(plainMarker)
	if plain != "" && marker == quote(plain) {
		return plain
	}
	return marker
}

// plainMarker is the part of a next link's query that holds a marker as it is, where the quoted one differs.
const plainMarker = "after"

// quote is how Python's urllib quotes a part of a URL, but for the slash: only letters, digits and _.-~ stay.
func quote(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// readPage reads the page of a list that the query asks for, and makes the link to the page after it, if there is one.
func readPage[T any](a *API, r *request, from etcdschema.Prefix[T]) ([]etcdschema.Record[T], []link, error) {
	limit, marker, err := r.page()
	if err != nil {
		return nil, nil, err
	}
	return listPage(a, r, from, limit, marker)
}

// readAllPage is readPage of a list of all projects. A marker may be an id without its project, as clients see them.
func readAllPage[T any](a *API, r *request, from etcdschema.Prefix[T]) ([]etcdschema.Record[T], []link, error) {
	limit, marker, err := r.page()
	if err != nil {
		return nil, nil, err
	}
	if marker != "" && !strings.Contains(marker, "/") {
		owner, err := findOwner(a, r, marker, from)
		switch {
		case err != nil:
			return nil, nil, err
		case owner == "":
			return nil, nil, fault.Errorf(fault.BadRequest, "The marker %q names nothing (any more); begin again with the first page.", marker)
		}
		marker = owner + "/" + marker
	}
	return listPage(a, r, from, limit, marker)
}

func listPage[T any](a *API, r *request, from etcdschema.Prefix[T], limit int, marker string) ([]etcdschema.Record[T], []link, error) {
	list, err := etcdschema.List(r.ctx, a.Control.Store, from, etcdschema.Page{Limit: limit, After: marker})
	if err != nil || !list.More {
		return list.Records, nil, err
	}
	return list.Records, a.nextLink(r, list.Last, limit), nil
}
