package etcdschema

import "time"

// IdentityUser is a user of the built-in identity service.
type IdentityUser struct {
	ID             string              `json:"id"` // 32 hexadecimal digits
	Name           string              `json:"name"`
	Password       string              `json:"password,omitempty"` // argon2id, in the PHC string format; "": cannot log in
	Roles          map[string][]string `json:"roles,omitempty"`    // project id -> admin, member, reader
	DefaultProject string              `json:"default_project,omitempty"`
	Description    string              `json:"description,omitempty"`
	Email          string              `json:"email,omitempty"`
	Disabled       bool                `json:"disabled,omitempty"`
	// Generation is counted up when the password changes and when the user is disabled: tokens of an earlier one are dead.
	Generation int64     `json:"generation,omitempty"`
	Created    time.Time `json:"created"`
}

// IdentityProject is a project of the built-in identity service.
type IdentityProject struct {
	ID          string    `json:"id"` // 32 hexadecimal digits
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Disabled    bool      `json:"disabled,omitempty"`
	Created     time.Time `json:"created"`
}

// IdentityName is a claim on the name of a user or project. It holds as long as the record with that id has that name.
type IdentityName struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // "user" or "project"
	Name string `json:"name"`
}

// IdentityAttempts is how often a password was wrong lately, and from where it was right.
type IdentityAttempts struct {
	FullAt time.Time `json:"full_at,omitzero"` // when all tries will be there again, if no more is used up
	// Known are the networks from which a user has logged in, by when all tries from there will be there again.
	Known map[string]KnownNetwork `json:"known,omitempty"`
}

// KnownNetwork is a network from which a user has logged in.
type KnownNetwork struct {
	Last   time.Time `json:"last"` // login, to the day
	FullAt time.Time `json:"full_at,omitzero"`
}

// IdentityToken is what a token stands for. Its roles are those that the user has in the project when it is used.
type IdentityToken struct {
	User       string   `json:"user"`              // id
	Project    string   `json:"project,omitempty"` // id; "": the token only tells who somebody is
	Generation int64    `json:"generation,omitempty"`
	Methods    []string `json:"methods"` // how its user was proved: password, token
	// Ancestors are the hashes of the tokens that it was made from, the first one first: it dies with each of them.
	Ancestors []string  `json:"ancestors,omitempty"`
	Issued    time.Time `json:"issued"`
	Expires   time.Time `json:"expires"`
}
