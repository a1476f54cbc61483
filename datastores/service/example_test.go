package service_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// A manager's Start: run the server, and return when it answers.
func ExampleService() {
	s := &service.Service{
		Name:       "redis",
		Dir:        "/var/lib/coffer/guest",
		Argv:       []string{"/usr/bin/redis-server", "/var/lib/coffer/data/redis.conf"},
		Credential: service.Credential(104, 107),
		LogDir:     volume.Dir{Path: "/var/lib/coffer/data", UID: 104, GID: 107},
		LogFile:    "redis.log",
	}
	start := func(ctx context.Context) error {
		if err := s.Start(ctx); err != nil {
			return err
		}
		return s.Await(ctx, func(ctx context.Context) error {
			c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", "127.0.0.2:6379")
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
	if err := start(context.Background()); err != nil {
		fmt.Println(err)
	}
}
