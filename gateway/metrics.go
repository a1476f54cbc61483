package gateway

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cofferdb/coffer/etcdschema"
)

// metrics are what /metrics tells.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	locks    prometheus.Counter
}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coffer_http_request_seconds", Help: "How long API requests took, by route and status.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"method", "route", "status"}),
	}
	m.locks = prometheus.NewCounter(prometheus.CounterOpts{Name: "coffer_agents_locked_total", Help: "Agents that were locked, since two machines used their identity."})
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(m.requests, m.locks, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("coffer_polls_parked", "Agents whose poll is held here.", func() float64 { return float64(g.agents.Stats().Parked) }),
		counter("coffer_polls_total", "Polls that agents have sent here.", func() float64 { return float64(g.agents.Stats().Polls) }),
		counter("coffer_poll_wakes_total", "Parked polls that were answered with something.", func() float64 { return float64(g.agents.Stats().Wakes) }),
		counter("coffer_polls_overload_total", "Agent calls answered with 429.", func() float64 { return float64(g.agents.Stats().Overload) }),
		gauge("coffer_definition_problems", "What is wrong with the definitions in etcd; -1 when they cannot be read.", g.countProblems),
		gauge("coffer_etcd_size_bytes", "Size of etcd's database on disk.", g.spaceOf(func(s etcdschema.Space) float64 { return float64(s.Size) })),
		gauge("coffer_etcd_quota_bytes", "What etcd's database may have; 0: not told, as by etcd before 3.6.", g.spaceOf(func(s etcdschema.Space) float64 { return float64(s.Quota) })),
		gauge("coffer_etcd_full", "1 while etcd is full and takes no writes.", g.spaceOf(func(s etcdschema.Space) float64 {
			if s.Full {
				return 1
			}
			return 0
		})),
		gauge("coffer_draining", "1 while the gateway drains.", func() float64 {
			if g.draining.Load() {
				return 1
			}
			return 0
		}))
	for name, count := range g.Limits.refused {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "coffer_refused_total", Help: "What exceeded a limit of docs/security.md, by limit.", ConstLabels: prometheus.Labels{"limit": name},
		}, func() float64 { return float64(count.Load()) }))
	}
	return m
}

// Operations answers what only operators may ask: /metrics for Prometheus, /debug/pprof. It asks nobody who they are, so it must not
// be served where the API is.
func (g *Gateway) Operations() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// observeRequests gives each request an id, counts it and logs it.
func (g *Gateway) observeRequests(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		id := "req-" + uuid.NewString()
		c.Response().Header().Set(headerRequestID, id)
		if err := next(c); err != nil {
			c.Error(err) // so that the status is known below
		}
		status := c.Response().Status
		route := c.Path()
		if route == "" {
			route = "none"
		}
		took := time.Since(began)
		g.metrics.requests.WithLabelValues(c.Request().Method, route, strconv.Itoa(status)).Observe(took.Seconds())
		g.log.Info("request", "request_id", id, "method", c.Request().Method, "route", route,
			"project", c.Param("project"), "status", status, "seconds", took.Seconds(), "remote", c.RealIP())
		return nil
	}
}
