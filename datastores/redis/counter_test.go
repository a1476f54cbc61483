package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
	"github.com/cofferdb/coffer/datastores/service"
)

// TestCluster: three shards, each with a copy, to which a fourth comes, and one leaves: its first member hands over to its second, and that one to all.
func TestCluster(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		t.Parallel()
		o.AppendFsync = "always" // what is acknowledged is written, also when SIGKILL comes
		options, err := json.Marshal(o)
		must(t, err)
		clustertest.Run(t, clustertest.Harness{
			Plugin:   Plugin(),
			Options:  options,
			NewEnv:   newEnv,
			Founders: []string{"1", "2", "3", "1", "2", "3"},
			Comers:   []string{"4", "4"},
			Leavers:  []int{2, 5},
			Open: func(_ context.Context, at []datastoretest.Login) (clustertest.Client, error) {
				return newCounter(at), nil
			},
			Kill:     kill,
			Replaced: replaced,
			Cut:      clustertest.CutBy(busPort),
		})
	})
}

// replaced waits until another member of the shard takes its writes.
func replaced(ctx context.Context, gone datastores.ClusterMember, others []datastores.ClusterMember) error {
	return service.AwaitSaying(ctx, func() error {
		for _, m := range others {
			if m.Shard != gone.Shard {
				continue
			}
			c := tenant(m.Address, rootName, clustertest.RootPassword)
			role, err := c.Info(ctx, "replication").Result()
			_ = c.Close()
			if err == nil && parseInfo(role)["role"] == roleSource {
				return nil
			}
		}
		return fmt.Errorf("nobody takes the writes of shard %s", gone.Shard)
	})
}

// counter is a client that goes where members send it.
type counter struct {
	at   []string
	turn int
	of   map[string]*redis.Client
}

func newCounter(at []datastoretest.Login) *counter {
	c := &counter{of: map[string]*redis.Client{}}
	for _, l := range at {
		c.at = append(c.at, l.Address)
	}
	return c
}

func (c *counter) server(address string) *redis.Client {
	if c.of[address] == nil {
		c.of[address] = tenant(address, rootName, clustertest.RootPassword)
	}
	return c.of[address]
}

func key(row int) string { return fmt.Sprint("row", row) }

// Write implements [clustertest.Client]. Both servers of the shard have the row when it is acknowledged.
func (c *counter) Write(ctx context.Context, row int) error {
	c.turn++
	address, asking := c.at[c.turn%len(c.at)], false
	for range 5 {
		var copies *redis.Cmd
		_, err := c.server(address).Pipelined(ctx, func(p redis.Pipeliner) error {
			if asking {
				p.Do(ctx, "ASKING")
			}
			p.Set(ctx, key(row), row, 0)
			copies = p.Do(ctx, "WAIT", 1, time.Second.Milliseconds())
			return nil
		})
		if err == nil {
			if n, err := copies.Int(); n < 1 {
				return errors.Join(errors.New("no other server has the row"), err)
			}
			return nil
		}
		to, ask := sentTo(err)
		if to == "" {
			return err
		}
		address, asking = to, ask
	}
	return errors.New("the members send the client about")
}

// sentTo is the address to which a server sends its client, and whether for this once; "": it does not.
func sentTo(err error) (address string, asking bool) {
	if err == nil {
		return "", false
	}
	words := strings.Fields(err.Error())
	if len(words) != 3 || words[0] != "MOVED" && words[0] != "ASK" {
		return "", false
	}
	address, _, _ = net.SplitHostPort(words[2])
	return address, words[0] == "ASK"
}

// Missing implements [clustertest.Client]. A replica is asked for what it has, too.
func (c *counter) Missing(ctx context.Context, rows int) (missing []int, err error) {
	all := make([]int, rows)
	for row := range all {
		all[row] = row
	}
	todo := map[string][]int{c.at[0]: all}
	for range 2 {
		next := map[string][]int{}
		for address, rows := range todo {
			replies := make([]*redis.IntCmd, len(rows))
			_, _ = c.server(address).Pipelined(ctx, func(p redis.Pipeliner) error {
				p.ReadOnly(ctx)
				for i, row := range rows {
					replies[i] = p.Exists(ctx, key(row))
				}
				return nil
			})
			for i, row := range rows {
				there, err := replies[i].Result()
				if to, _ := sentTo(err); to != "" {
					next[to] = append(next[to], row)
				} else if err != nil {
					return nil, err
				} else if there == 0 {
					missing = append(missing, row)
				}
			}
		}
		todo = next
	}
	if len(todo) > 0 {
		return nil, errors.New("the members send the client about")
	}
	return missing, nil
}

// Close implements [clustertest.Client].
func (c *counter) Close() (err error) {
	for _, server := range c.of {
		err = errors.Join(err, server.Close())
	}
	return err
}
