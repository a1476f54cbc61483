package dbext

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// User is a database user with the databases that it may use.
type User struct {
	Name      string     `json:"name"`
	Host      string     `json:"host"`
	Databases []Database `json:"databases"`
}

// Database is a database by its name.
type Database struct {
	Name string `json:"name"`
}

// ListUsers reads all users of an instance; gophercloud's leaves their hosts out.
func ListUsers(ctx context.Context, c *gophercloud.ServiceClient, instance string) ([]User, error) {
	return all[User](ctx, c, "users", endpoint(c, "instances", instance, "users"))
}

// GetUser reads one user. user is NAME or NAME@HOST, here and below.
func GetUser(ctx context.Context, c *gophercloud.ServiceClient, instance, user string) (User, error) {
	return get[User](ctx, c, "user", "instances", instance, "users", user)
}

// UserChange is what changes of a user; "" leaves as it is.
type UserChange struct {
	Name     string `json:"name,omitempty"`
	Host     string `json:"host,omitempty"`
	Password string `json:"password,omitempty"`
}

// UpdateUser changes a user.
func UpdateUser(ctx context.Context, c *gophercloud.ServiceClient, instance, user string, to UserChange) error {
	return change(ctx, c, http.MethodPut, map[string]UserChange{"user": to}, "instances", instance, "users", user)
}

// DeleteUser deletes a user; gophercloud's does not escape its name.
func DeleteUser(ctx context.Context, c *gophercloud.ServiceClient, instance, user string) error {
	return change(ctx, c, http.MethodDelete, nil, "instances", instance, "users", user)
}

// DeleteDatabase deletes a database; gophercloud's does not escape its name.
func DeleteDatabase(ctx context.Context, c *gophercloud.ServiceClient, instance, name string) error {
	return change(ctx, c, http.MethodDelete, nil, "instances", instance, "databases", name)
}

// ListAccess reads which databases a user may use.
func ListAccess(ctx context.Context, c *gophercloud.ServiceClient, instance, user string) ([]Database, error) {
	return get[[]Database](ctx, c, "databases", "instances", instance, "users", user, "databases")
}

// Grant lets a user use databases.
func Grant(ctx context.Context, c *gophercloud.ServiceClient, instance, user string, databases []string) error {
	body := map[string][]Database{"databases": {}}
	for _, name := range databases {
		body["databases"] = append(body["databases"], Database{name})
	}
	return change(ctx, c, http.MethodPut, body, "instances", instance, "users", user, "databases")
}

// Revoke takes a database from a user.
func Revoke(ctx context.Context, c *gophercloud.ServiceClient, instance, user, database string) error {
	return change(ctx, c, http.MethodDelete, nil, "instances", instance, "users", user, "databases", database)
}

// Root is the superuser's name and password.
type Root struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// EnableRoot lets the superuser in, with the given password or, for "", one that the gateway makes.
func EnableRoot(ctx context.Context, c *gophercloud.ServiceClient, instance, password string) (Root, error) {
	return enableRoot(ctx, c, endpoint(c, "instances", instance, "root"), password)
}

func enableRoot(ctx context.Context, c *gophercloud.ServiceClient, at, password string) (Root, error) {
	body := map[string]string{}
	if password != "" {
		body["password"] = password
	}
	members, err := send(ctx, c, http.MethodPost, at, body, http.StatusOK)
	return member[Root](members, "user", err)
}

// DisableRoot shuts the superuser out.
func DisableRoot(ctx context.Context, c *gophercloud.ServiceClient, instance string) error {
	return change(ctx, c, http.MethodDelete, nil, "instances", instance, "root")
}
