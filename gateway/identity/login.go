package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// reference names a user or a project: by id, or by name within a domain.
type reference struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"domain"`
}

// here reports whether the domain is the one that there is, or not said.
func (r reference) here() bool {
	return (r.Domain.ID == "" || r.Domain.ID == domainID) && (r.Domain.Name == "" || strings.EqualFold(r.Domain.Name, domainName))
}

type loginBody struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User struct {
					reference
					Password string `json:"password"`
				} `json:"user"`
			} `json:"password"`
			Token struct {
				ID string `json:"id"`
			} `json:"token"`
		} `json:"identity"`
		Scope scope `json:"scope"`
	} `json:"auth"`
}

// scope is what a login asks a token for: nothing said, "unscoped", or a project.
type scope struct {
	unscoped bool
	project  *reference
}

func (s *scope) UnmarshalJSON(b []byte) error {
	if string(b) == `"unscoped"` {
		s.unscoped = true
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	for kind, value := range object {
		switch kind {
		case "project":
			if err := json.Unmarshal(value, &s.project); err != nil {
				return err
			}
		case "unscoped":
			s.unscoped = true
		default:
			return faultf(http.StatusBadRequest, "A token cannot be scoped to a %s here; scope it to a project.", kind)
		}
	}
	return nil
}

// choice is what a scope means for [Service.issue].
func (s *Service) choice(sc scope) (projectChoice, error) {
	switch {
	case sc.unscoped:
		return unscoped, nil
	case sc.project == nil:
		return s.usual, nil
	case !sc.project.here():
		return nil, ErrUnauthorized
	}
	return s.projectNamed(sc.project.ID, sc.project.Name), nil
}

// logIn answers POST /v3/auth/tokens: a new token for a password, or for a token with another scope.
func (s *Service) logIn(r *request) (reply, error) {
	body, err := decode[loginBody](r)
	if err != nil {
		return reply{}, err
	}
	choose, err := s.choice(body.Auth.Scope)
	if err != nil {
		return reply{}, err
	}
	id := body.Auth.Identity
	var p proof
	switch {
	case slices.Equal(id.Methods, []string{"password"}):
		p, err = s.proveByPassword(r, id.Password.User.reference, id.Password.User.Password)
	case slices.Equal(id.Methods, []string{"token"}):
		if _, own := tokenHash(id.Token.ID); !own {
			return s.logInWithOther(r, id.Token.ID, body.Auth.Scope)
		}
		p, err = s.proveByToken(r, id.Token.ID)
	default:
		return reply{}, faultf(http.StatusBadRequest, "auth.identity.methods: want [\"password\"] or [\"token\"].")
	}
	if err != nil {
		return reply{}, err
	}
	token, g, err := s.issue(r.Context(), p, choose)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, token: token, body: s.tokenBody(r, g)}, nil
}

func (s *Service) proveByPassword(r *request, ref reference, password string) (proof, error) {
	remote := s.cfg.RemoteIP(r.Request)
	user, err := s.loginUser(r.Context(), ref)
	if err != nil {
		return proof{}, err
	}
	who := suspect{cmp.Or(user.ID, ref.ID, "name "+strings.ToLower(ref.Name)), network(remote)}
	before, err := s.judge(r.Context(), who)
	if err != nil {
		return proof{}, err
	}
	refuse := func(limit string, wait time.Duration) error {
		s.log.Warn("login refused: too many of them", "limit", limit, "remote_ip", remote)
		f := over(limit, http.StatusTooManyRequests, "Too many logins, or too many wrong passwords. Try again later.")
		f.retryAfter = wait
		return f
	}
	if before.wait > 0 {
		return proof{}, refuse("login", before.wait)
	}
	if wait := s.issued.Take(who.user, 1); wait > 0 {
		return proof{}, refuse("tokens", wait)
	}
	// Whoever logs in from where it did before has places of its own to hash: strangers cannot keep it waiting. A try counts while it
	// lasts. Taking turns first keeps a crowd of good ones from using up what is for wrong ones.
	places, key := s.hashing, who.user
	if before.known {
		places, key = s.reserved, who.user+" "+who.network
	}
	leave, err := places.enter(r.Context())
	if err != nil {
		return proof{}, err
	}
	defer leave()
	uncount, wait := s.attempts.begin(key, remote)
	if wait > 0 && !before.last {
		return proof{}, refuse("login", wait)
	}
	if uncount == nil {
		uncount = func() {}
	}
	matches, err := matchesHash(user.Password, password)
	if err != nil {
		uncount()
		return proof{}, fmt.Errorf("user %s: %w", user.ID, err)
	}
	if !matches || user.Disabled {
		// A user_name that nobody has may be a password in the wrong field: only a known one is logged.
		s.log.Warn("login failed", "user_id", user.ID, "remote_ip", remote)
		if err := s.wrong(r.Context(), who, before); err != nil {
			return proof{}, err
		}
		return proof{}, ErrUnauthorized
	}
	uncount()
	if err := s.right(r.Context(), who); err != nil {
		return proof{}, err
	}
	return proof{
		user: user.ID, generation: user.Generation, methods: []string{"password"}, expires: time.Now().UTC().Add(s.cfg.TokenTTL),
	}, nil
}

// nobody is the id of no user.
const nobody = "nobody"

// loginUser reads the user who wants to log in. One that is not there has no password, and costs as many reads.
func (s *Service) loginUser(ctx context.Context, ref reference) (etcdschema.IdentityUser, error) {
	var user etcdschema.IdentityUser
	var err error
	switch {
	case !ref.here():
		return user, nil
	case ref.ID != "":
		user, err = s.users.get(ctx, ref.ID)
	default:
		var found bool
		if user, found, err = s.users.find(ctx, ref.Name); err == nil && !found {
			_, err = s.users.get(ctx, nobody)
		}
	}
	if isMissing(err) {
		err = nil
	}
	return user, err
}

// proveByToken takes a token of the service's own. The new one ends when it does: nobody prolongs a login by itself.
func (s *Service) proveByToken(r *request, token string) (proof, error) {
	hash, _ := tokenHash(token)
	g, err := s.load(r.Context(), hash) // not from the cache: a revoked token must not have a child
	if err != nil {
		return proof{}, err
	}
	if len(g.ancestors) >= maxAncestors {
		return proof{}, over("token_chain", http.StatusForbidden, "The token was made from %d others, one from another. Log in again.", len(g.ancestors))
	}
	if wait := s.issued.Take(g.UserID, 1); wait > 0 {
		f := over("tokens", http.StatusTooManyRequests, "Too many logins. Try again later.")
		f.retryAfter = wait
		return proof{}, f
	}
	return proof{
		user: g.UserID, generation: g.generation, methods: rescoped(g.methods), expires: g.Expires, ancestors: append(slices.Clone(g.ancestors), hash),
	}, nil
}

// logInWithOther answers a token of [Config.Others] with itself: it cannot be re-scoped.
func (s *Service) logInWithOther(r *request, token string, sc scope) (reply, error) {
	g, err := s.resolve(r.Context(), token)
	if err != nil {
		return reply{}, err
	}
	if sc.project != nil {
		if g, err = s.narrow(r.Context(), g, *sc.project); err != nil {
			return reply{}, err
		}
	}
	return reply{status: http.StatusCreated, token: token, body: s.tokenBody(r, g)}, nil
}

// narrow checks that a grant is good for a project; one for [AnyProject] becomes one for that.
func (s *Service) narrow(ctx context.Context, g grant, want reference) (grant, error) {
	if g.Project == AnyProject {
		project, err := s.projects.get(ctx, want.ID)
		if want.ID == "" {
			project, _, err = s.projects.find(ctx, want.Name)
		}
		if err != nil && !isMissing(err) {
			return grant{}, err
		}
		g.Project, g.ProjectName = project.ID, project.Name
	}
	if !want.here() || !g.scoped() || want.ID != "" && want.ID != g.Project || want.ID == "" && want.Name != g.ProjectName {
		return grant{}, ErrUnauthorized
	}
	return g, nil
}

// resolve finds out what a token stands for, be it the service's own or one of [Config.Others].
func (s *Service) resolve(ctx context.Context, token string) (grant, error) {
	g, err := s.lookUp(ctx, token)
	if !errors.Is(err, ErrUnauthorized) || s.cfg.Others == nil {
		return g, err
	}
	who, err := s.cfg.Others.Authenticate(ctx, token)
	if err != nil {
		return grant{}, err
	}
	now := time.Now().UTC()
	if who.Expires.IsZero() {
		who.Expires = now.Add(s.cfg.TokenTTL)
	}
	return grant{Who: who, methods: []string{"token"}, issued: now}, nil
}

// subject resolves X-Subject-Token, for its user and for administrators; 404 when it is no token.
func (s *Service) subject(r *request) (token string, g grant, err error) {
	token = r.Header.Get("X-Subject-Token")
	g, err = s.resolve(r.Context(), token)
	if errors.Is(err, ErrUnauthorized) {
		return "", grant{}, faultf(http.StatusNotFound, "Could not find token.")
	}
	if err != nil {
		return "", grant{}, err
	}
	return token, g, r.ownOrAdmin(g.UserID)
}

// showToken answers GET /v3/auth/tokens.
func (s *Service) showToken(r *request) (reply, error) {
	token, g, err := s.subject(r)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, token: token, body: s.tokenBody(r, g)}, nil
}

// revokeToken answers DELETE /v3/auth/tokens.
func (s *Service) revokeToken(r *request) (reply, error) {
	token, _, err := s.subject(r)
	if err != nil {
		return reply{}, err
	}
	if _, own := tokenHash(token); !own {
		return reply{}, faultf(http.StatusForbidden, "A static token cannot be revoked here; remove it from the gateways' configuration.")
	}
	if err := s.revoke(r.Context(), token); err != nil {
		return reply{}, err
	}
	return done()
}
