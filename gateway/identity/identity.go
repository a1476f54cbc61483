package identity

import (
	"context"
	"errors"
	"slices"
	"time"
)

// AnyProject is the project of a [Who] that may name any project in a request's path. It is no valid name of a project.
const AnyProject = "*"

// The roles. Each includes those after it.
const (
	Admin  = "admin"  // may do everything, in the management API too
	Member = "member" // may change what belongs to the project
	Reader = "reader" // may look at what belongs to the project
)

var roles = []string{Admin, Member, Reader}

// effective returns the given roles, in order, with those that they include; names that are no roles are left out.
func effective(given []string) []string {
	for i, role := range roles {
		if slices.Contains(given, role) {
			return slices.Clone(roles[i:])
		}
	}
	return nil
}

// Who is what a token says about the one who sends it.
type Who struct {
	UserID   string
	UserName string
	// Project is the id of the project that the token is for. "": none, the token only says who somebody is.
	// [AnyProject]: the one in the request's path.
	Project     string
	ProjectName string
	Roles       []string  // in the project
	Expires     time.Time // zero: never
}

// Admin reports whether the management API is open.
func (w Who) Admin() bool { return slices.Contains(w.Roles, Admin) }

// Member reports whether what belongs to the project may be changed.
func (w Who) Member() bool { return w.Admin() || slices.Contains(w.Roles, Member) }

// Reader reports whether what belongs to the project may be seen.
func (w Who) Reader() bool { return w.Member() || slices.Contains(w.Roles, Reader) }

// ErrUnauthorized is returned for a token that is missing, unknown, expired or revoked.
var ErrUnauthorized = errors.New("the token is missing, unknown, expired or revoked")

// Authenticator says whom a token stands for. It returns [ErrUnauthorized] when it stands for nobody; any other error
// means that it could not find out. It must be safe for concurrent use.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (Who, error)
}

// Chain asks each Authenticator in turn until one knows the token, or fails.
type Chain []Authenticator

// Authenticate implements [Authenticator].
func (c Chain) Authenticate(ctx context.Context, token string) (Who, error) {
	for _, a := range c {
		if who, err := a.Authenticate(ctx, token); !errors.Is(err, ErrUnauthorized) {
			return who, err
		}
	}
	return Who{}, ErrUnauthorized
}

// Anonymous takes every token, and none, for an administrator of [AnyProject]. It must be used only by explicit choice
// and on loopback.
type Anonymous struct{}

// Authenticate implements [Authenticator]. It never fails.
func (Anonymous) Authenticate(context.Context, string) (Who, error) {
	return Who{UserID: "anonymous", UserName: "anonymous", Project: AnyProject, Roles: effective(roles)}, nil
}
