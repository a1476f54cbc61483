package api

import (
	"testing"

	"net/http/httptest"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestDetailsAreForAdmins: what a guest's tools have printed is no tenant's to read.
func TestDetailsAreForAdmins(t *testing.T) {
	in := lifecycle.Alone(etcdschema.Instance{ID: "i", Fault: &etcdschema.Fault{Message: "it failed", Details: "tools' words"}})
	for role, want := range map[string]bool{"admin": true, "member": false, "reader": false} {
		r := newRequest(echo.New().NewContext(httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()), "p")
		r.Who = identity.Who{Project: "p", Roles: []string{role}}
		got := New(Config{}).detailView(r, in).Fault
		if got.Message != "it failed" || (got.Details != nil) != want {
			t.Errorf("%s sees %+v", role, got)
		}
	}
}
