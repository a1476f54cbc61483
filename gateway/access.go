package gateway

import (
	"errors"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/gateway/identity"
)

// admit authenticates the request and checks that it may use a route. As in Trove: no or a bad token is 401, another
// project's path is 403 (for admins too), an admin's route is 401 to everybody else, a role that is too low is 403.
func (g *Gateway) admit(r *request, need access) error {
	if need == open {
		return nil
	}
	who, err := g.identity.Authenticate(r.ctx, r.echo.Request().Header.Get("X-Auth-Token"))
	if err != nil {
		return err
	}
	r.who = who
	if who.Project != identity.AnyProject && who.Project != r.project {
		return faultf(forbidden, "User with tenant id %s cannot access this resource.", who.Project)
	}
	switch {
	case need == admin && !who.Admin():
		return faultf(unauthorized, "This needs the role admin.")
	case need == member && !who.Member():
		return faultf(forbidden, "This needs the role member or admin; the token's role only reads.")
	case need == reader && !who.Reader():
		return faultf(forbidden, "The token has no role in this project.")
	}
	return nil
}

// admitUnknown answers those who may not use a part of the API the same there whether a path is a route or not.
func (g *Gateway) admitUnknown(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		var fromRouter *echo.HTTPError
		path, versioned := strings.CutPrefix(c.Request().URL.Path, "/v1.0/")
		project, below, ok := strings.Cut(path, "/")
		if !versioned || !ok || below == "" || !errors.As(err, &fromRouter) {
			return err
		}
		need := reader
		if strings.HasPrefix(below, "mgmt/") {
			need = admin
		}
		if refused := g.admit(&request{echo: c, ctx: c.Request().Context(), project: project}, need); refused != nil {
			return refused
		}
		return err
	}
}
