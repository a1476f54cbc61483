// Package server is the gateway's side of the agent protocol: the lot where polls are parked, what wakes them, who is
// present, and who may come in. What is stored, and how, is the [Backend]'s.
//
// # A parked poll
//
// It costs neither a goroutine nor a buffer. The server hijacks the poll's connection and keeps nothing but it; one
// epoll set notices lost peers; the answer is written straight to the connection, which goes back to the
// [net/http.Server] through the listener that [Server.Listener] wrapped as soon as the agent's next call begins. Where a connection cannot be hijacked (HTTP/2, another system than Linux, a listener that
// was not wrapped) the poll is parked on its goroutine, and all else is the same.
//
// # Who decides
//
// [Server.Apply] feeds an index of what is pending for whom, from the gateway's one watch. The index only says whether
// to ask: what a poll is told at arrival is what [Backend.Pending] read, what a parked poll is told is what the watch
// brought. A poll of which the index knows nothing new is parked without a call to the Backend, so an idle fleet costs
// the store nothing.
//
// # The HTTP server
//
// A [net/http.Server] that serves the handler needs a ReadHeaderTimeout of 5 s and MaxHeaderBytes of
// [agentpoll.MaxHeader], and must not have a ReadTimeout or WriteTimeout, which would cut parked polls: use
// [HTTPServer]. TLS goes below the wrapped listener, and Serve is called, not ServeTLS:
//
//	tcp, err := net.Listen("tcp", address)
//	…
//	err = server.HTTPServer(srv.Handler()).Serve(srv.Listener(tls.NewListener(tcp, config)))
package server
