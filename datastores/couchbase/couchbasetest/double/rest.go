package double

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// answer is what a request comes to. A body of nil is an empty one.
type answer struct {
	status int
	body   any
}

func okay(body any) answer { return answer{http.StatusOK, body} }

// refused is a 400 with errors by parameter.
func refused(parameter, format string, args ...any) answer {
	return answer{http.StatusBadRequest, map[string]any{"errors": map[string]string{parameter: fmt.Sprintf(format, args...)}}}
}

// listed is a 400 with a list of errors.
func listed(format string, args ...any) answer {
	return answer{http.StatusBadRequest, []string{fmt.Sprintf(format, args...)}}
}

func missing() answer { return answer{http.StatusNotFound, "Object Not Found"} }

// caller is who asks.
type caller struct {
	name  string
	roles []role // of a node that was not provisioned: those of an administrator
}

// has reports whether the caller has a role, on a bucket or on all.
func (c caller) has(name, bucket string) bool {
	return slices.ContainsFunc(c.roles, func(r role) bool {
		return r.Name == "admin" || r.Name == name && (r.Bucket == bucket || r.Bucket == "*" || bucket == "")
	})
}

// access says who may call.
type access func(c caller, r *http.Request) bool

func admins(c caller, _ *http.Request) bool    { return c.has("admin", "") }
func overseers(c caller, _ *http.Request) bool { return c.has("ro_admin", "") }
func anybody(caller, *http.Request) bool       { return true }
func tenants(c caller, r *http.Request) bool {
	return c.has("bucket_full_access", r.PathValue("bucket"))
}
func interested(c caller, r *http.Request) bool { return overseers(c, r) || tenants(c, r) }

// rest serves the management REST.
func (n *node) rest() http.Handler {
	mux := http.NewServeMux()
	// open: without a password. early: also before the node was provisioned.
	handle := func(pattern string, open, early bool, may access, serve func(*http.Request) answer) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
			defer cancel()
			n.reply(w, r, n.admit(r.WithContext(ctx), open, early, may, serve))
		})
	}
	handle("GET /pools", true, true, anybody, n.getPools)
	handle("GET /whoami", false, false, anybody, n.whoAmI)
	handle("POST /clusterInit", false, true, admins, n.clusterInit)
	handle("POST /controller/hardResetNode", false, true, admins, n.hardReset)
	handle("GET /pools/default", false, false, overseers, n.getPool)
	handle("GET /pools/nodes", false, false, overseers, n.getPool)
	handle("POST /pools/default", false, false, admins, n.setPool)

	handle("GET /pools/default/buckets", false, false, anybody, n.listBuckets)
	handle("POST /pools/default/buckets", false, false, admins, n.createBucket)
	handle("GET /pools/default/buckets/{bucket}", false, false, interested, n.getBucket)
	handle("POST /pools/default/buckets/{bucket}", false, false, admins, n.editBucket)
	handle("DELETE /pools/default/buckets/{bucket}", false, false, admins, n.deleteBucket)
	handle("GET /pools/default/buckets/{bucket}/docs", false, false, tenants, n.listDocs)
	handle("GET /pools/default/buckets/{bucket}/docs/{key}", false, false, tenants, n.getDoc)
	handle("POST /pools/default/buckets/{bucket}/docs/{key}", false, false, tenants, n.putDoc)
	handle("DELETE /pools/default/buckets/{bucket}/docs/{key}", false, false, tenants, n.deleteDoc)

	handle("GET /settings/rbac/users", false, false, admins, n.listUsers)
	handle("GET /settings/rbac/users/local/{user}", false, false, admins, n.getUser)
	handle("PUT /settings/rbac/users/local/{user}", false, false, admins, n.putUser)
	handle("PATCH /settings/rbac/users/local/{user}", false, false, admins, n.patchUser)
	handle("DELETE /settings/rbac/users/local/{user}", false, false, admins, n.deleteUser)
	handle("GET /settings/rbac/backup", false, false, admins, n.getUsersBackup)
	handle("PUT /settings/rbac/backup", false, false, admins, n.putUsersBackup)
	for path, table := range settingsTables() {
		handle("GET "+table.read, false, false, overseers, func(r *http.Request) answer { return n.getSettings(path, r) })
		handle("POST "+path, false, false, admins, func(r *http.Request) answer { return n.setSettings(path, r) })
	}

	handle("POST /controller/addNode", false, false, admins, n.addNode)
	handle("POST /node/controller/doJoinCluster", false, true, admins, n.doJoin)
	handle("POST /controller/rebalance", false, false, admins, n.rebalance)
	handle("GET /pools/default/rebalanceProgress", false, false, overseers, n.rebalanceProgress)
	handle("POST /controller/failOver", false, false, admins, n.failOver)
	handle("POST /controller/setRecoveryType", false, false, admins, n.setRecoveryType)
	handle("POST /controller/ejectNode", false, false, admins, n.ejectNode)
	return mux
}

// admit lets a request in, or says why not.
func (n *node) admit(r *http.Request, open, early bool, may access, serve func(*http.Request) answer) answer {
	if err := r.ParseForm(); err != nil {
		return answer{http.StatusBadRequest, err.Error()}
	}
	name, password, given := r.BasicAuth()
	s := n.now()
	if s == nil {
		if !early {
			return answer{http.StatusNotFound, "unknown pool"}
		}
		return serve(r)
	}
	c, known := s.caller(name, password)
	switch {
	case given && !known:
		return answer{http.StatusUnauthorized, nil}
	case !given && !open:
		return answer{http.StatusUnauthorized, nil}
	case !may(c, r):
		return answer{http.StatusForbidden, map[string]any{"message": "Forbidden. User needs the following permissions", "permissions": []string{}}}
	}
	return serve(r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
}

type callerKey struct{}

func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

// caller is who has that password.
func (s *state) caller(name, password string) (caller, bool) {
	if s.Admin.is(name, password) {
		return caller{name, []role{{Name: "admin"}}}, true
	}
	u := s.Users[name]
	if u == nil || !u.is(name, password) {
		return caller{}, false
	}
	return caller{name, u.Roles}, true
}

func (n *node) reply(w http.ResponseWriter, r *http.Request, a answer) {
	n.log.Info("answer", "method", r.Method, "path", r.URL.Path, "status", a.status)
	if a.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Couchbase Server Admin / REST"`)
	}
	if text, ok := a.body.(string); ok {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(a.status)
		_, _ = fmt.Fprint(w, text)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	if a.body != nil {
		_ = json.NewEncoder(w).Encode(a.body)
	}
}
