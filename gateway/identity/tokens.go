package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
)

// tokenPrefix is a format number, and a mark for secret scanners.
const tokenPrefix = "coffertoken1."

// tokenHash is the name under which a token is stored. false for what this service never issued.
func tokenHash(token string) (string, bool) {
	secret, ok := strings.CutPrefix(token, tokenPrefix)
	return agentpoll.HashSecret(secret), ok && len(secret) == 43
}

// grant is a token's meaning, with what only the identity API tells of it.
type grant struct {
	Who
	generation int64 // of the user
	methods    []string
	issued     time.Time
	ancestors  []string
}

// scoped reports whether it is for one project.
func (g grant) scoped() bool { return g.Project != "" && g.Project != AnyProject }

// Authenticate implements [Authenticator] for the tokens of the service. A call that the cache answers costs no read.
func (s *Service) Authenticate(ctx context.Context, token string) (Who, error) {
	g, err := s.lookUp(ctx, token)
	return g.Who, err
}

func (s *Service) lookUp(ctx context.Context, token string) (grant, error) {
	hash, ok := tokenHash(token)
	if !ok {
		return grant{}, ErrUnauthorized
	}
	g, ok, rememberGood := s.good.get(hash)
	if ok {
		if !time.Now().Before(g.Expires) {
			return grant{}, ErrUnauthorized
		}
		return g, nil
	}
	_, ok, rememberBad := s.bad.get(hash)
	if ok {
		return grant{}, ErrUnauthorized
	}
	g, err := s.load(ctx, hash)
	switch {
	case err == nil:
		rememberGood(g)
	case errors.Is(err, ErrUnauthorized):
		rememberBad(struct{}{})
	}
	return g, err
}

// load reads what a token stands for now: its user and project may have changed since it was issued.
func (s *Service) load(ctx context.Context, hash string) (g grant, err error) {
	r, err := etcdschema.Get(ctx, s.store, etcdschema.IdentityTokenKey(hash))
	if errors.Is(err, etcdschema.ErrNotFound) {
		return grant{}, ErrUnauthorized
	}
	if err != nil {
		return grant{}, err
	}
	t := r.Value
	if !time.Now().Before(t.Expires) {
		return grant{}, ErrUnauthorized
	}
	refs := []etcdschema.Ref{s.users.key(t.User)}
	for _, hash := range t.Ancestors {
		refs = append(refs, etcdschema.IdentityTokenKey(hash))
	}
	if t.Project != "" {
		refs = append(refs, s.projects.key(t.Project))
	}
	_, err = s.store.Update(ctx, refs, func(snap etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		if err := alive(snap, t.Ancestors); err != nil {
			return nil, err
		}
		g, err = s.meaning(snap, t)
		return nil, err
	})
	return g, err
}

// maxAncestors is how many tokens one may be made from, each from the one before.
const maxAncestors = 10

// alive returns ErrUnauthorized when one of the tokens that a token was made from was revoked.
func alive(snap etcdschema.Snapshot, ancestors []string) error {
	for _, hash := range ancestors {
		rec, err := etcdschema.Read(snap, etcdschema.IdentityTokenKey(hash))
		if err != nil {
			return err
		}
		if !rec.Found {
			return ErrUnauthorized
		}
	}
	return nil
}

// meaning works out what a token's record stands for. ErrUnauthorized when its user or project is gone or disabled, the
// user's password has changed, or the user has no role in the project any more.
func (s *Service) meaning(snap etcdschema.Snapshot, t etcdschema.IdentityToken) (grant, error) {
	user, err := s.users.read(snap, t.User)
	if isMissing(err) {
		return grant{}, ErrUnauthorized
	}
	if err != nil {
		return grant{}, err
	}
	if user.Disabled || user.Generation != t.Generation {
		return grant{}, ErrUnauthorized
	}
	who := Who{UserID: user.ID, UserName: user.Name, Expires: t.Expires}
	if t.Project != "" {
		project, err := s.projects.read(snap, t.Project)
		if isMissing(err) {
			return grant{}, ErrUnauthorized
		}
		if err != nil {
			return grant{}, err
		}
		who.Project, who.ProjectName, who.Roles = project.ID, project.Name, effective(user.Roles[project.ID])
		if project.Disabled || len(who.Roles) == 0 {
			return grant{}, ErrUnauthorized
		}
	}
	return grant{Who: who, generation: t.Generation, methods: t.Methods, issued: t.Issued, ancestors: t.Ancestors}, nil
}

// proof is that somebody is a user, by password or by an earlier token.
type proof struct {
	user       string // id
	generation int64
	methods    []string
	expires    time.Time
	ancestors  []string // hashes of the tokens that it was proved with, the first one first
}

// issue stores a new token for a proved user, scoped to the project that choose picks. ErrUnauthorized when the user may
// not have it, or has changed since the proof.
func (s *Service) issue(ctx context.Context, p proof, choose projectChoice) (token string, g grant, err error) {
	token = tokenPrefix + agentpoll.NewSecret()
	hash, _ := tokenHash(token)
	issued := time.Now().UTC()
	_, err = s.store.Update(ctx, []etcdschema.Ref{s.users.key(p.user)}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		user, err := s.users.read(snap, p.user)
		if isMissing(err) {
			return nil, ErrUnauthorized
		}
		if err != nil {
			return nil, err
		}
		project, err := choose(snap, user)
		if err != nil {
			return nil, err
		}
		t := etcdschema.IdentityToken{
			User: p.user, Project: project, Generation: p.generation, Methods: p.methods, Issued: issued, Expires: p.expires, Ancestors: p.ancestors,
		}
		if err := alive(snap, p.ancestors); err != nil {
			return nil, err
		}
		if g, err = s.meaning(snap, t); err != nil {
			return nil, err
		}
		// One bucket of leases for all tokens: what a re-scoped one has left differs each time. Expires decides.
		return []etcdschema.Op{etcdschema.Put(etcdschema.IdentityTokenKey(hash), t).For(s.cfg.TokenTTL)}, nil
	})
	return token, g, err
}

// revoke deletes a token, and with it all that were made from it.
func (s *Service) revoke(ctx context.Context, token string) error {
	hash, _ := tokenHash(token)
	_, err := s.store.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(etcdschema.IdentityTokenKey(hash))}, nil
	})
	s.forget()
	return err
}

// projectChoice picks the project of a new token; "" for none.
type projectChoice func(etcdschema.Snapshot, etcdschema.IdentityUser) (string, error)

// unscoped chooses none.
func unscoped(etcdschema.Snapshot, etcdschema.IdentityUser) (string, error) { return "", nil }

// usual chooses the user's default project, or else the only one, or else none.
func (s *Service) usual(snap etcdschema.Snapshot, u etcdschema.IdentityUser) (string, error) {
	candidates := []string{u.DefaultProject}
	if len(u.Roles) == 1 {
		for id := range u.Roles {
			candidates = append(candidates, id)
		}
	}
	for _, id := range candidates {
		if len(effective(u.Roles[id])) == 0 {
			continue
		}
		project, err := s.projects.read(snap, id)
		if err == nil && !project.Disabled {
			return id, nil
		}
		if err != nil && !isMissing(err) {
			return "", err
		}
	}
	return "", nil
}

// projectNamed chooses by id or else by name. ErrUnauthorized when there is none.
func (s *Service) projectNamed(id, name string) projectChoice {
	return func(snap etcdschema.Snapshot, u etcdschema.IdentityUser) (string, error) {
		if id != "" {
			_, err := s.projects.read(snap, id)
			if isMissing(err) {
				return "", ErrUnauthorized
			}
			return id, err
		}
		project, found, err := s.projects.named(snap, name)
		if err == nil && !found {
			err = ErrUnauthorized
		}
		return project.ID, err
	}
}

// rescoped is how a token's methods read after it was used for another.
func rescoped(methods []string) []string {
	if slices.Contains(methods, "token") {
		return methods
	}
	return append(slices.Clone(methods), "token")
}
