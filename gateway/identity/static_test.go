package identity

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
)

const ciToken = "ci-0123456789abcdefghij"

func TestReadStatic(t *testing.T) {
	hashed := "tokens:\n- name: ci\n  project: shop\n  roles: [member]\n  sha256: " + agentpoll.HashSecret(ciToken) + "\n"
	inClear := `{"tokens": [{"name": "ci", "project": "shop", "roles": ["member"], "token": "` + ciToken + `"}]}`
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		problem    string // "": none
	}{
		{"hash in YAML", hashed, 0o644, ""},
		{"clear in JSON", inClear, 0o600, ""},
		{"clear for all to read", inClear, 0o640, "chmod 600"},
		{"no YAML", "tokens: [" + ciToken, 0o600, "want a list `tokens`"},
		{"unknown key", "tokens:\n- secret: " + ciToken + "\n", 0o600, "line 2"},
		{"short", "tokens:\n- {name: ci, project: shop, roles: [member], token: short-one}\n", 0o600, "at least 20"},
		{"twice", hashed + strings.TrimPrefix(hashed, "tokens:\n"), 0o600, "stands above"},
		{"nothing right", "tokens:\n- {project: A B, roles: [owner]}\n", 0o600, `role "owner": want one of admin, member, reader`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			s, err := ReadStatic(path)
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Fatalf("got %v, want an error with %q", err, test.problem)
				}
				if strings.Contains(err.Error(), ciToken) || strings.Contains(err.Error(), "short-one") {
					t.Fatalf("the error tells a token: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Authenticate(t.Context(), ciToken)
			want := Who{UserID: "static:ci", UserName: "ci", Project: "shop", ProjectName: "shop", Roles: []string{Member, Reader}}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
			if _, err := s.Authenticate(t.Context(), ""); !errors.Is(err, ErrUnauthorized) {
				t.Fatal("no token at all:", err)
			}
		})
	}
}

func TestChainAsksUntilOneKnows(t *testing.T) {
	s, err := NewStatic([]StaticToken{{Name: "ops", Project: AnyProject, Roles: []string{Admin}, Token: ciToken}})
	if err != nil {
		t.Fatal(err)
	}
	who, err := Chain{Chain{}, s}.Authenticate(t.Context(), ciToken)
	if err != nil || !who.Admin() || who.Project != AnyProject {
		t.Fatal(who, err)
	}
	if _, err := (Chain{s}).Authenticate(t.Context(), "another"); !errors.Is(err, ErrUnauthorized) {
		t.Fatal(err)
	}
	if who, err := (Chain{s, Anonymous{}}).Authenticate(t.Context(), ""); err != nil || !who.Admin() {
		t.Fatal(who, err)
	}
}

func TestRolesIncludeThoseAfterThem(t *testing.T) {
	for _, test := range []struct {
		given, want           []string
		admin, member, reader bool
	}{
		{nil, nil, false, false, false},
		{[]string{"owner"}, nil, false, false, false},
		{[]string{Reader}, []string{Reader}, false, false, true},
		{[]string{Reader, Member}, []string{Member, Reader}, false, true, true},
		{[]string{Admin}, []string{Admin, Member, Reader}, true, true, true},
	} {
		w := Who{Roles: effective(test.given)}
		if diff := cmp.Diff(test.want, w.Roles); diff != "" {
			t.Errorf("%v: %s", test.given, diff)
		}
		if w.Admin() != test.admin || w.Member() != test.member || w.Reader() != test.reader {
			t.Errorf("%v: got %v %v %v", test.given, w.Admin(), w.Member(), w.Reader())
		}
	}
}
