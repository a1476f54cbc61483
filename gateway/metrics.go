package gateway

import (
	"context"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/limits"
)

// metrics are what /metrics tells.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coffer_http_request_seconds", Help: "How long API requests took, by route and status.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"method", "route", "status"}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(m.requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		counter("coffer_agents_locked_total", "Agents that were locked, since two machines used their identity.", func() float64 { return float64(g.backend.Locks()) }),
		counter("coffer_replicas_strayed_total", "Replicas whose guest has told this gateway that they do not follow their source any more.", func() float64 { n, _ := g.backend.Followings(); return float64(n) }),
		counter("coffer_replicas_rejoined_total", "Replicas whose guest has told this gateway that they follow their source again.", func() float64 { _, n := g.backend.Followings(); return float64(n) }),
		gauge("coffer_polls_parked", "Agents whose poll is held here.", func() float64 { return float64(g.polls.Stats().Parked) }),
		counter("coffer_polls_total", "Polls that agents have sent here.", func() float64 { return float64(g.polls.Stats().Polls) }),
		counter("coffer_poll_wakes_total", "Parked polls that were answered with something.", func() float64 { return float64(g.polls.Stats().Wakes) }),
		counter("coffer_polls_overload_total", "Agent calls answered with 429.", func() float64 { return float64(g.polls.Stats().Overload) }),
		gauge("coffer_definition_problems", "What is wrong with the definitions in etcd, as last read; -1 when they could not be.", g.control.CountProblems),
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
	for _, result := range []string{etcdschema.VerifiedIntact, etcdschema.VerifiedDamaged, etcdschema.VerifiedUnreadable} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "coffer_backups_verified_total", Help: "Backups that this gateway has verified where they lie, by what came of it.", ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(g.verifier.Count(result)) }))
	}
	for _, result := range []string{etcdschema.DrillPassed, etcdschema.DrillFailed} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "coffer_drills_total", Help: "Drills of which this gateway has seen the end, by result.", ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 {
			passed, failed := g.drills.Ended()
			if result == etcdschema.DrillPassed {
				return float64(passed)
			}
			return float64(failed)
		}))
	}
	restores := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "coffer_drill_restore_seconds", Help: "How long drills that have passed took to restore, from the wish to a server that answers.",
		Buckets: prometheus.ExponentialBuckets(1, 4, 8),
	})
	m.registry.MustRegister(restores)
	g.drills.Took = func(took time.Duration) { restores.Observe(took.Seconds()) }
	failovers := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "coffer_failover_seconds", Help: "How long sets had no source, of the failovers that this gateway has committed.",
		Buckets: prometheus.ExponentialBuckets(5, 2, 8),
	})
	m.registry.MustRegister(failovers)
	g.control.FailedOver = func(took time.Duration) { failovers.Observe(took.Seconds()) }
	for _, which := range []string{etcdschema.ObjectiveRPO, etcdschema.ObjectiveRTO} {
		labels := prometheus.Labels{"objective": which}
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "coffer_objectives_missed", Help: "Instances of all projects that miss what was asked of their recovery; -1 when etcd does not tell.", ConstLabels: labels,
		}, seldom(func() float64 { return g.missing(which) })), prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "coffer_objectives_missed_total", Help: "How often this gateway has found that an instance begins to miss what was asked.", ConstLabels: labels,
		}, func() float64 { return float64(g.recoverable.Missed(which)) }))
	}
	for _, row := range limits.Table() {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "coffer_refused_total", Help: "What exceeded a limit of docs/security.md, by limit.", ConstLabels: prometheus.Labels{"limit": row.Name},
		}, func() float64 { return float64(g.Limits.Count(row.Name)) }))
	}
	return m
}

// seldom asks for a value that costs a read when it was not asked for within the last seconds: scrapes cost etcd nothing.
func seldom(value func() float64) func() float64 {
	const within = 5 * time.Second
	var mu sync.Mutex
	var last float64
	var at time.Time
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		if at.IsZero() || time.Since(at) > within {
			last, at = value(), time.Now()
		}
		return last
	}
}

// missing counts the instances that miss an objective, in etcd: every gateway says the same.
func (g *Gateway) missing(objective string) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	n, err := g.recoverable.Missing(ctx, objective)
	if err != nil {
		return -1
	}
	return float64(n)
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

// observe counts a request that was answered.
func (m *metrics) observe(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}
