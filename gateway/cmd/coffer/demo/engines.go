package demo

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

const (
	redisPort   = "6379"
	mariadbPort = "3306"
)

// engines are the tenant's ways in, remembered from step to step.
type engines struct {
	cache  *redis.Options
	orders *mysql.Config
}

// redis creates an instance that has a root password from the start, and uses it.
func (s *show) redis() error {
	s.step("A Redis instance; the root password is told once, in the answer")
	var in dbext.Instance
	if err := s.read(&in, "instance", "create", "cache", "--datastore", "redis", "--flavor", "tiny", "--size", "1", "--wait"); err != nil {
		return err
	}
	address, err := s.address("cache")
	if err != nil {
		return err
	}
	s.cache = &redis.Options{Addr: net.JoinHostPort(address, redisPort), Password: in.Password, DisableIdentity: true}
	err = s.withRedis(func(ctx context.Context, c *redis.Client) error {
		return c.Set(ctx, "greeting", "hello", 0).Err()
	})
	if err != nil {
		return err
	}
	s.note("go-redis at %s: SET greeting hello", s.cache.Addr)
	return s.readRedis()
}

func (s *show) readRedis() error {
	return s.withRedis(func(ctx context.Context, c *redis.Client) error {
		greeting, err := c.Get(ctx, "greeting").Result()
		if err == nil {
			s.note("go-redis at %s: GET greeting -> %s", s.cache.Addr, greeting)
		}
		return err
	})
}

func (s *show) withRedis(use func(context.Context, *redis.Client) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	c := redis.NewClient(s.cache)
	return errors.Join(use(ctx, c), c.Close())
}

// mariadb creates an instance with a database and a user, adds more of both, and uses them.
func (s *show) mariadb() error {
	s.step("A MariaDB instance with a database and a user, then more of them")
	password := rand.Text()
	steps := []struct {
		stdin string
		args  []string
	}{
		{password, []string{"instance", "create", "orders", "--datastore", "mariadb", "--flavor", "small", "--size", "1", "--database", "orders", "--user", "clerk", "--password-stdin", "--wait"}},
		{"", []string{"database", "create", "orders", "archive", "--character-set", "utf8mb4"}},
		{rand.Text(), []string{"user", "create", "orders", "auditor", "--host", "127.0.0.%", "--password-stdin"}},
		{"", []string{"user", "grant", "orders", "auditor@127.0.0.%", "archive"}},
		{"", []string{"database", "list", "orders"}},
		{"", []string{"user", "list", "orders"}},
	}
	for _, step := range steps {
		if err := s.coffer(step.stdin, step.args...); err != nil {
			return err
		}
	}
	address, err := s.address("orders")
	if err != nil {
		return err
	}
	s.orders = mysql.NewConfig()
	s.orders.User, s.orders.Passwd, s.orders.DBName = "clerk", password, "orders"
	s.orders.Net, s.orders.Addr, s.orders.Timeout = "tcp", net.JoinHostPort(address, mariadbPort), 10*time.Second
	err = s.withMariaDB(s.orders, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CREATE TABLE basket (item VARCHAR(40), pieces INT)")
		if err == nil {
			_, err = db.ExecContext(ctx, "INSERT INTO basket VALUES (?, ?)", "apples", 3)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.note("go-sql-driver at %s, as clerk: INSERT INTO basket VALUES ('apples', 3)", s.orders.Addr)
	return s.readMariaDB(s.orders, 3)
}

// restore makes a backup, loses what is in it, and makes an instance of it that has everything.
func (s *show) restore() error {
	s.step("A backup; what is lost after it is in an instance that is made of it")
	if err := s.coffer("", "backup", "create", "orders", "nightly", "--wait"); err != nil {
		return err
	}
	err := s.withMariaDB(s.orders, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, "UPDATE basket SET pieces = 0")
		return err
	})
	if err != nil {
		return err
	}
	s.note("go-sql-driver at %s, as clerk, by mistake: UPDATE basket SET pieces = 0", s.orders.Addr)
	if err := s.coffer("", "instance", "create", "yesterday", "--datastore", "mariadb", "--flavor", "small", "--size", "1", "--backup", "nightly", "--wait"); err != nil {
		return err
	}
	address, err := s.address("yesterday")
	if err != nil {
		return err
	}
	yesterday := s.orders.Clone()
	yesterday.Addr = net.JoinHostPort(address, mariadbPort)
	return errors.Join(s.readMariaDB(s.orders, 0), s.readMariaDB(yesterday, 3))
}

func (s *show) readMariaDB(cfg *mysql.Config, want int) error {
	return s.withMariaDB(cfg, func(ctx context.Context, db *sql.DB) error {
		var item string
		var pieces int
		err := db.QueryRowContext(ctx, "SELECT item, pieces FROM basket").Scan(&item, &pieces)
		if err == nil {
			s.note("go-sql-driver at %s, as clerk: SELECT item, pieces FROM basket -> %s, %d", cfg.Addr, item, pieces)
		}
		if err == nil && pieces != want {
			return fmt.Errorf("there should be %d", want)
		}
		return err
	})
}

func (s *show) withMariaDB(cfg *mysql.Config, use func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	return errors.Join(use(ctx, db), db.Close())
}

// restart shows that what was written stays.
func (s *show) restart() error {
	s.step("Both are restarted; the data is still there")
	for _, name := range []string{"cache", "orders"} {
		if err := s.coffer("", "instance", "restart", name, "--wait"); err != nil {
			return err
		}
	}
	return errors.Join(s.readRedis(), s.readMariaDB(s.orders, 0))
}

// root lets MariaDB's superuser in, and shuts it out again.
func (s *show) root() error {
	s.step("Root is enabled, used, and disabled")
	var root dbext.Root
	if err := s.read(&root, "root", "enable", "orders"); err != nil {
		return err
	}
	cfg := s.orders.Clone()
	cfg.User, cfg.Passwd = root.Name, root.Password
	who := func(ctx context.Context, db *sql.DB) error {
		var name string
		err := db.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&name)
		if err == nil {
			s.note("go-sql-driver at %s, as root: SELECT CURRENT_USER() -> %s", cfg.Addr, name)
		}
		return err
	}
	if err := s.withMariaDB(cfg, who); err != nil {
		return err
	}
	if err := s.coffer("", "root", "disable", "orders"); err != nil {
		return err
	}
	err := s.withMariaDB(cfg, who)
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) {
		return fmt.Errorf("root should be refused now, and was not: %w", err)
	}
	s.note("as root again: %s", refused.Message)
	return nil
}
