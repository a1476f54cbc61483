package host_test

import (
	"context"
	"log"
	"log/slog"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/deployments/host"
)

func Example() {
	h, err := host.New(host.Config{
		Gateways: []string{"https://gateway.example:8443"},
		Token:    "the enrolment token",
		Dir:      "/var/lib/coffer-host",
		Guests:   "/usr/lib/coffer/guests",
		Pool:     "10.20.0.0/24",
		Capacity: deployments.Capacity{MemoryMB: 65536}, // the rest is the machine's
		Log:      slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := h.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
