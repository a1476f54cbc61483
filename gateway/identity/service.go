package identity

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/rate"
	"github.com/cofferdb/coffer/etcdschema"
)

// Path is where the service lives below a gateway's address. Clients are given PublicURL + Path + "/v3" as OS_AUTH_URL.
const Path = "/identity"

// How long, and of how many tokens, a gateway remembers that they are good or bad.
const (
	goodFor = 10 * time.Second
	badFor  = 2 * time.Second
	goodMax = 20_000
	badMax  = 5_000
)

const (
	defaultTokenTTL = time.Hour
	longestTokenTTL = 7 * 24 * time.Hour
	defaultRegion   = "RegionOne"
)

// Config says how the service works.
type Config struct {
	Store *etcdschema.Store // required
	// PublicURL is the scheme and host that the client used, such as "https://coffer.example:8779", for links and the
	// catalogue. nil: by the request's TLS and Host.
	PublicURL func(*http.Request) string
	// RemoteIP is the address of the client, behind proxies that are trusted. nil: the connection's.
	RemoteIP func(*http.Request) string
	// Others are tokens that the service takes besides its own, from whoever asks for a change or for a catalogue: an
	// operator's static ones. nil: none.
	Others Authenticator
	// Refused is told the name of a limit that refused a request. nil: nobody is.
	Refused func(limit string)
	// TokenRate is how many tokens a second a user gets, after a minute's worth at once; 0: 2; -1: any number.
	TokenRate float64
	TokenTTL  time.Duration // how long a login is good for; 0: 1 hour; at most 7 days
	Region    string        // of the catalogue's endpoints; "": RegionOne
	Log       *slog.Logger  // nil: slog.Default()
}

func (c Config) validate() error {
	var problems *multierror.Error
	if c.Store == nil {
		problems = multierror.Append(problems, errors.New("identity: Store is required"))
	}
	if c.TokenTTL < 0 || c.TokenTTL > longestTokenTTL {
		problems = multierror.Append(problems, errors.New("identity: TokenTTL must be at most 7 days"))
	}
	return problems.ErrorOrNil()
}

// Service is the built-in identity service. It implements [Authenticator] for its own tokens. Everything it knows is in
// etcd, so that any gateway's will do.
type Service struct {
	cfg      Config
	store    *etcdschema.Store
	log      *slog.Logger
	users    directory[etcdschema.IdentityUser]
	projects directory[etcdschema.IdentityProject]
	hashing  gate          // of strangers
	reserved gate          // of those who have logged in from there before
	issued   *rate.Limiter // logins of a user
	attempts attempts
	good     *cache[grant]
	bad      *cache[struct{}]
}

// New makes a service. It reads nothing and starts nothing.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.PublicURL == nil {
		cfg.PublicURL = requestURL
	}
	if cfg.Refused == nil {
		cfg.Refused = func(string) {}
	}
	if cfg.RemoteIP == nil {
		cfg.RemoteIP = connectionIP
	}
	if cfg.TokenTTL == 0 {
		cfg.TokenTTL = defaultTokenTTL
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Service{
		cfg:      cfg,
		store:    cfg.Store,
		log:      cfg.Log,
		users:    userDirectory(cfg.Store),
		projects: projectDirectory(cfg.Store),
		hashing:  make(gate, min(4, runtime.GOMAXPROCS(0))),
		reserved: make(gate, 2),
		issued:   tokenLimiter(cfg.TokenRate),
		attempts: newAttempts(),
		good:     newCache[grant](goodFor, goodMax),
		bad:      newCache[struct{}](badFor, badMax),
	}, nil
}

func tokenLimiter(perSecond float64) *rate.Limiter {
	if perSecond < 0 {
		return nil
	}
	perSecond = cmp.Or(perSecond, 2)
	return rate.New(perSecond, 60*perSecond)
}

func requestURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func connectionIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// forget makes this gateway look every token up again, after something changed that may end one.
func (s *Service) forget() { s.good.clear() }

// The names that Bootstrap gives.
const (
	firstUser    = "admin"
	firstProject = "admin"
)

// Bootstrap makes sure that somebody can log in: where there are no users it makes the user "admin", administrator of
// the project "admin", with a generated password. It returns that password, which is stored nowhere, and true. Of
// several gateways that start at once, one does. It changes nothing where there is a user.
func (s *Service) Bootstrap(ctx context.Context) (password string, created bool, err error) {
	have, err := etcdschema.Count(ctx, s.store, s.users.all)
	if err != nil || have > 0 {
		return "", false, err
	}
	password = agentpoll.NewSecret()
	hash, err := s.hash(ctx, password)
	if err != nil {
		return "", false, err
	}
	now := time.Now().UTC()
	user := etcdschema.IdentityUser{ID: newID(), Name: firstUser, Password: hash, Description: "made at the first start", Created: now}
	fresh := etcdschema.IdentityProject{ID: newID(), Name: firstProject, Description: "made at the first start", Created: now}
	_, err = s.store.Update(ctx, nil, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		_, taken, err := s.users.named(snap, firstUser)
		if created = err == nil && !taken; !created {
			return nil, err
		}
		project, found, err := s.projects.named(snap, firstProject)
		if err != nil {
			return nil, err
		}
		var ops []etcdschema.Op
		if !found {
			project = fresh
			if ops, err = s.projects.set(snap, nil, project); err != nil {
				return nil, err
			}
		}
		user.DefaultProject = project.ID
		user.Roles = map[string][]string{project.ID: {Admin}}
		more, err := s.users.set(snap, nil, user)
		return append(ops, more...), err
	})
	if err != nil || !created {
		return "", false, err
	}
	s.log.Info("made the first user", "user_name", firstUser, "user_id", user.ID, "project_id", user.DefaultProject)
	return password, true, nil
}
