package server

import (
	"net/http"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// HTTPServer returns a server for handler with the limits that parked polls and slow or hostile clients need: headers
// within 5 s and 8 KiB, idle connections closed after 90 s. It has no ReadTimeout and no WriteTimeout, which would cut
// parked polls; this package limits the time of a body by itself. Its fields may be changed before it serves.
func HTTPServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    agentpoll.MaxHeader,
		IdleTimeout:       90 * time.Second,
	}
}
