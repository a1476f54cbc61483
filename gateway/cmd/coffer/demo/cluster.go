package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// baskets is how many keys the demo writes to its cluster: enough that every member has some.
const baskets = 100

// cluster makes a cluster, has it grow and shrink, and reads what was written after each.
func (s *show) cluster() error {
	if os.Geteuid() != 0 {
		s.note("No cluster: its members speak to each other at a port that is for them alone, which needs root's firewall.")
		return nil
	}
	s.step("A Redis cluster of three servers: one grows into it, one goes, and nothing is missing")
	var ring dbext.Cluster
	err := s.read(&ring, "cluster", "create", "ring", "--datastore", "redis", "--flavor", "tiny", "--size", "1", "--members", "3", "--wait")
	if err != nil {
		return err
	}
	password := ring.Password
	err = s.withCluster(ring, password, func(ctx context.Context, c *redis.ClusterClient) error {
		for n := range baskets {
			if err := c.Set(ctx, fmt.Sprint("basket:", n), n, 0).Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.note("go-redis: SET basket:0 … basket:%d", baskets-1)
	for _, args := range [][]string{
		{"cluster", "grow", "ring", "--wait"},
		{"cluster", "shrink", "ring", ring.Members[0].Name, "--wait"},
	} {
		if err := s.coffer("", args...); err != nil {
			return err
		}
		if err := s.ask(&ring, "cluster", "show", "ring"); err != nil {
			return err
		}
		if err := s.readCluster(ring, password); err != nil {
			return err
		}
	}
	if err := s.coffer("", "cluster", "show", "ring"); err != nil {
		return err
	}
	return s.coffer("", "cluster", "delete", "ring", "--wait")
}

// readCluster reads everything that was written.
func (s *show) readCluster(ring dbext.Cluster, password string) error {
	return s.withCluster(ring, password, func(ctx context.Context, c *redis.ClusterClient) error {
		for n := range baskets {
			if got, err := c.Get(ctx, fmt.Sprint("basket:", n)).Int(); err != nil || got != n {
				return fmt.Errorf("basket:%d is %d: %w", n, got, err)
			}
		}
		s.note("go-redis: GET basket:0 … basket:%d -> all %d are there, on %d members", baskets-1, baskets, len(ring.Members))
		return nil
	})
}

func (s *show) withCluster(ring dbext.Cluster, password string, use func(context.Context, *redis.ClusterClient) error) error {
	opts := &redis.ClusterOptions{Password: password, DisableIdentity: true}
	for _, m := range ring.Members {
		for _, ip := range m.IP {
			opts.Addrs = append(opts.Addrs, net.JoinHostPort(ip, redisPort))
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	c := redis.NewClusterClient(opts)
	return errors.Join(use(ctx, c), c.Close())
}
