package attacks

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestH9AccessThatChangesNothing closes an instance as tenants do, with an address alone, and looks at what its host was told; then at
// what the tenant reads when the host could not do it.
func TestH9AccessThatChangesNothing(t *testing.T) {
	s := newScene(t)
	host := gatewaytest.StartHost(t, s.Gateway)
	c := s.Client(gatewaytest.Member)
	id := c.Create(t, "db", "")
	c.Await(t, id, "ACTIVE", patience)
	at := gatewaytest.Instance(id)
	c.Want(t, http.StatusAccepted, http.MethodPut, at, `{"instance":{"access":{"allowed_cidrs":["10.0.0.5"]}}}`)
	awaitTrue(t, "the host to let in one address", func() bool {
		return slices.Equal(host.Launched(id).Firewall.CIDRs, gatewaytest.Prefixes("10.0.0.5/32"))
	})
	c.Want(t, http.StatusBadRequest, http.MethodPut, at, `{"instance":{"access":{"allowed_cidrs":["fd00::/8"]}}}`)

	host.CannotFilter(errors.New("nft: permission denied"))
	c.Want(t, http.StatusAccepted, http.MethodPut, at, `{"instance":{"access":{"allowed_cidrs":["10.0.0.6"]}}}`)
	awaitTrue(t, "a word of the failure in the timeline", func() bool {
		events := c.Do(t, http.MethodGet, at+"/events", "")
		return strings.Contains(string(events.Body), "has not changed who may reach the instance")
	})
}
