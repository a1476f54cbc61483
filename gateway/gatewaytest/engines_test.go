package gatewaytest_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	driver "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/go-redis/v9"
)

const postgresqlStore datastore = "postgresql"

// login is how a tenant's program comes to its data.
type login struct{ address, user, password, database string }

// tenantPart is the JSON of a create with a database and a user, where the datastore has them.
func (d datastore) tenantPart() string {
	if d == redisStore {
		return ""
	}
	return `,"databases":[{"name":"orders"}],"users":[{"name":"bob","password":"s3cret of bob","databases":[{"name":"orders"}]}]`
}

// login of the tenant of tenantPart; password is root's, where there is nobody else.
func (d datastore) login(address, rootPassword string) login {
	if d == redisStore {
		return login{address: address, password: rootPassword}
	}
	return login{address, "bob", "s3cret of bob", "orders"}
}

// item is what is stored under a number.
func item(n int) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(n)))
	return hex.EncodeToString(sum[:])
}

// write stores the items from to to-1, one after the other, and returns how many were acknowledged.
func (d datastore) write(ctx context.Context, l login, from, to int) (acknowledged int, err error) {
	if d == redisStore {
		c := d.redis(l)
		defer c.Close()
		for n := from; n < to; n++ {
			if err := c.Set(ctx, "item:"+strconv.Itoa(n), item(n), 0).Err(); err != nil {
				return n - from, err
			}
		}
		return to - from, nil
	}
	db, err := d.sql(l)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS items (n INT PRIMARY KEY, v VARCHAR(80))"); err != nil {
		return 0, err
	}
	for n := from; n < to; n++ {
		if _, err := db.ExecContext(ctx, fmt.Sprintf("INSERT INTO items VALUES (%d, '%s')", n, item(n))); err != nil {
			return n - from, err
		}
	}
	return to - from, nil
}

// read returns the numbers of all items, in order; an error when one has not its value.
func (d datastore) read(ctx context.Context, l login) (numbers []int, err error) {
	if d == redisStore {
		return readRedis(ctx, d.redis(l))
	}
	db, err := d.sql(l)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT n, v FROM items ORDER BY n")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		var v string
		if err := rows.Scan(&n, &v); err != nil {
			return nil, err
		}
		if v != item(n) {
			return nil, fmt.Errorf("item %d is %q", n, v)
		}
		numbers = append(numbers, n)
	}
	return numbers, rows.Err()
}

func readRedis(ctx context.Context, c *redis.Client) (numbers []int, err error) {
	defer c.Close()
	keys := c.Scan(ctx, 0, "item:*", 1000).Iterator()
	for keys.Next(ctx) {
		n, err := strconv.Atoi(strings.TrimPrefix(keys.Val(), "item:"))
		if err != nil {
			return nil, err
		}
		v, err := c.Get(ctx, keys.Val()).Result()
		if err != nil || v != item(n) {
			return nil, errors.Join(err, fmt.Errorf("item %d is %q", n, v))
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), keys.Err()
}

func (d datastore) redis(l login) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: net.JoinHostPort(l.address, "6379"), Username: l.user, Password: l.password, MaxRetries: -1, PoolSize: 1, ContextTimeoutEnabled: true,
	})
}

// sql opens a database with one connection, so that what is not acknowledged is not tried again by somebody else.
func (d datastore) sql(l login) (*sql.DB, error) {
	if d == postgresqlStore {
		u := url.URL{Scheme: "postgres", User: url.UserPassword(l.user, l.password), Host: net.JoinHostPort(l.address, "5432"), Path: l.database,
			RawQuery: "sslmode=disable&connect_timeout=5"}
		db, err := sql.Open("pgx", u.String())
		if err == nil {
			db.SetMaxOpenConns(1)
		}
		return db, err
	}
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", net.JoinHostPort(l.address, "3306"), l.user, l.password, l.database
	cfg.Logger, cfg.InterpolateParams = new(driver.NopLogger), true
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}

// setting is what the running server has for a parameter.
func (d datastore) setting(ctx context.Context, l login, name string) (value string, err error) {
	switch d {
	case redisStore:
		c := d.redis(l)
		defer c.Close()
		info, err := c.Info(ctx).Result() // CONFIG GET is not for tenants
		for line := range strings.Lines(info) {
			if v, ok := strings.CutPrefix(line, strings.ReplaceAll(name, "-", "_")+":"); ok {
				return strings.TrimSpace(v), err
			}
		}
		return "", errors.Join(err, fmt.Errorf("INFO does not tell %s", name))
	case postgresqlStore:
		db, err := d.sql(l)
		if err != nil {
			return "", err
		}
		defer db.Close()
		return value, db.QueryRowContext(ctx, "SELECT current_setting($1)", name).Scan(&value)
	}
	db, err := d.sql(l)
	if err != nil {
		return "", err
	}
	defer db.Close()
	return value, db.QueryRowContext(ctx, "SELECT @@global."+name).Scan(&value)
}
