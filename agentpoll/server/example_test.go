package server_test

import (
	"context"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/server"
)

func Example() {
	backend := agentpolltest.NewBackend() // a gateway's stores in etcd
	srv, err := server.New(server.Config{Backend: backend, Epoch: backend.Epoch()})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	watch := backend.Feed(srv.Apply)
	defer watch.Close()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	hs := server.HTTPServer(srv.Handler())
	go func() {
		if err := hs.Serve(srv.Listener(l)); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Drain(ctx); err != nil {
		log.Print(err)
	}
	if err := hs.Shutdown(ctx); err != nil {
		log.Print(err)
	}
	// Output:
}
