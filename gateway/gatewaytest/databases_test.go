package gatewaytest_test

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
)

// datastore is the name of one whose servers' starts can be counted.
type datastore string

const (
	redisStore   datastore = "redis"
	mariadbStore datastore = "mariadb"
	mysqlStore   datastore = "mysql"
)

// starts counts how often an instance's server was started, by what it wrote into its log.
func (d datastore) starts(t *testing.T, m *machine, instance string) int {
	t.Helper()
	log, line := "redis/redis.log", "Redis is starting"
	if d == mariadbStore {
		log, line = "mysql/logs/error.log", "Starting MariaDB"
	}
	text, err := os.ReadFile(m.guestFile(instance, "../root/var/lib/"+log))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), line)
}

// openRedis opens a database as its tenants do: one connection, which is not made again when it breaks.
func openRedis(t *testing.T, address, password string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: address + ":6379", Password: password, PoolSize: 1, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// openMySQL opens a database as its tenants do.
func openMySQL(t *testing.T, address, user, password, database string) *sql.DB {
	t.Helper()
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", address+":3306", user, password, database
	cfg.Logger = new(driver.NopLogger)
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// column reads the strings of a query's only column.
func column(db *sql.DB, query string) ([]string, error) {
	rows, err := db.Query(query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	var values []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}
