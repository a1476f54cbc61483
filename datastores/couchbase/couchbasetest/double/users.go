package double

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// checkUser tells what is wrong with a user's name.
func checkUser(name string) string {
	switch {
	case name == "" || utf8.RuneCountInString(name) > 128:
		return "Username must be at least 1 and at most 128 characters"
	case strings.ContainsAny(name, `()<>,;:\"/[]?={} `) || strings.HasPrefix(name, "@") || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return `The username must not contain spaces, control or any of ()<>,;:\"/[]?={} characters and must be valid utf8`
	}
	return ""
}

func (s *state) checkPassword(password string) string {
	least := 6
	if text := s.Settings[passwordPolicy]["minLength"]; text != "" {
		least, _ = strconv.Atoi(text)
	}
	if len(password) < least || !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl) {
		return "The password must be at least " + strconv.Itoa(least) + " characters long and not contain control characters."
	}
	return ""
}

var roleText = regexp.MustCompile(`\A([a-z_]+)(?:\[([^\[\],]+)\])?\z`)

// parseRoles reads roles as name[bucket], with commas between them.
func (s *state) parseRoles(text string) (roles []role, bad string) {
	roles = []role{}
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		parts := roleText.FindStringSubmatch(one)
		if parts == nil {
			return nil, one
		}
		switch r := (role{parts[1], parts[2]}); {
		case (r.Name == "admin" || r.Name == "ro_admin") && r.Bucket == "":
			roles = append(roles, r)
		case r.Name == "bucket_full_access" && (r.Bucket == "*" || s.Buckets[r.Bucket] != nil):
			roles = append(roles, r)
		default:
			return nil, one
		}
	}
	return roles, ""
}

func describeUser(u *user) map[string]any {
	roles := []map[string]any{}
	for _, r := range u.Roles {
		one := map[string]any{"role": r.Name, "origins": []map[string]string{{"type": "user"}}}
		if r.Bucket != "" {
			one["bucket_name"] = r.Bucket
		}
		roles = append(roles, one)
	}
	return map[string]any{"id": u.Name, "domain": "local", "roles": roles, "groups": []string{}, "external_groups": []string{}, "name": "", "password_change_date": u.Changed.Format(time.RFC3339)}
}

func (n *node) listUsers(*http.Request) answer {
	all := []map[string]any{}
	for _, u := range n.now().Users {
		all = append(all, describeUser(u))
	}
	return okay(all)
}

func (n *node) getUser(r *http.Request) answer {
	u := n.now().Users[r.PathValue("user")]
	if u == nil {
		return answer{http.StatusNotFound, "Unknown user."}
	}
	return okay(describeUser(u))
}

// putUser makes a user, or gives one other roles, and another password if one is given.
func (n *node) putUser(r *http.Request) answer {
	name, f := r.PathValue("user"), r.PostForm
	if problem := unknown(r, "password", "roles", "name"); problem != "" {
		return refused(problem, "Unsupported key")
	}
	if problem := checkUser(name); problem != "" {
		return refused("_", "%s", problem)
	}
	return n.change(r.Context(), okay(nil), func(s *state) answer {
		u := s.Users[name]
		if u == nil || f.Get("password") != "" {
			if problem := s.checkPassword(f.Get("password")); problem != "" {
				return refused("password", "%s", problem)
			}
		}
		roles, bad := s.parseRoles(f.Get("roles"))
		if bad != "" {
			return refused("roles", "Cannot assign roles to user because the following roles are unknown, malformed or role parameters are undefined: [%s]", bad)
		}
		if u == nil {
			u = &user{}
			s.Users[name] = u
		}
		if f.Get("password") != "" {
			u.secret, u.Changed = newSecret(name, f.Get("password")), time.Now().UTC()
		}
		u.Roles = roles
		return answer{}
	})
}

// patchUser changes a password.
func (n *node) patchUser(r *http.Request) answer {
	if problem := unknown(r, "password"); problem != "" {
		return refused(problem, "Unsupported key")
	}
	return n.change(r.Context(), okay(nil), func(s *state) answer {
		u := s.Users[r.PathValue("user")]
		if u == nil {
			return answer{http.StatusNotFound, "Unknown user."}
		}
		if problem := s.checkPassword(r.PostForm.Get("password")); problem != "" {
			return refused("password", "%s", problem)
		}
		u.secret, u.Changed = newSecret(u.Name, r.PostForm.Get("password")), time.Now().UTC()
		return answer{}
	})
}

func (n *node) deleteUser(r *http.Request) answer {
	return n.change(r.Context(), okay(nil), func(s *state) answer {
		name := r.PathValue("user")
		if s.Users[name] == nil {
			return answer{http.StatusNotFound, "User was not found."}
		}
		delete(s.Users, name)
		return answer{}
	})
}

// usersBackup is what /settings/rbac/backup tells, which is nobody else's business.
type usersBackup struct {
	Version int              `json:"version"`
	Admin   *secret          `json:"admin,omitempty"`
	Users   map[string]*user `json:"users"`
}

func (n *node) getUsersBackup(r *http.Request) answer {
	s := n.now()
	b := usersBackup{Version: 1, Users: s.Users}
	switch exclude := r.URL.Query()["exclude"]; {
	case len(exclude) == 0:
		b.Admin = &s.Admin
	case !slices.Equal(exclude, []string{"admin"}):
		return refused("exclude", "the double knows admin alone")
	}
	return okay(b)
}

func (n *node) putUsersBackup(r *http.Request) answer {
	if problem := unknown(r, "backup", "canOverwrite"); problem != "" {
		return refused(problem, "Unsupported key")
	}
	var b usersBackup
	if err := json.Unmarshal([]byte(r.PostForm.Get("backup")), &b); err != nil || b.Version != 1 {
		return refused("backup", "Invalid backup")
	}
	overwrite := r.PostForm.Get("canOverwrite") == "true"
	return n.change(r.Context(), okay(map[string]int{"usersCreated": len(b.Users)}), func(s *state) answer {
		if b.Admin != nil && overwrite {
			s.Admin = *b.Admin
		}
		for name, u := range b.Users {
			if s.Users[name] == nil || overwrite {
				s.Users[name] = u
			}
		}
		return answer{}
	})
}
