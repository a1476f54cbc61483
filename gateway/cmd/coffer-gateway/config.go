package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/limits"
)

// config is the command line.
type config struct {
	listen          string
	metricsListen   string
	dataDir         string
	etcdEndpoints   string
	etcdSocket      string
	etcdUser        string
	etcdPasswordEnv string
	etcdCA          string
	etcdCert        string
	etcdKey         string
	keyFile         string
	tlsCert, tlsKey string
	tlsNames        string
	insecureHTTP    bool
	identity        string
	tokensFile      string
	passwordFile    string
	unauthenticated bool
	trustProxy      bool
	corsOrigins     []string
	agentURLs       string
	agentCAs        []string
	region          string
	hold            time.Duration
	limits          *limits.Limits
	drain           time.Duration
	backupDir       string
	s3              blobstore.S3Config
	s3AccessKeyFile string
	s3SecretKeyFile string
	s3Presign       bool
	logLevel        string
	file            string
	showVersion     bool
}

// parse reads flags, environment and settings file, and checks them all.
func parse(args []string, out io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("coffer-gateway", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&c.listen, "listen", "127.0.0.1:8779", "address to serve on; Trove's port is 8779")
	f.StringVar(&c.metricsListen, "metrics-listen", "", "address for /metrics and /debug/pprof over plain HTTP, such as 127.0.0.1:8780: whoever reaches it may read them; empty: nowhere")
	f.StringVar(&c.dataDir, "data-dir", ".coffer/gateway", "where the built-in etcd and the key file live")
	f.StringVar(&c.etcdEndpoints, "etcd-endpoints", "", "comma-separated etcd endpoints; empty: run etcd inside this process")
	f.StringVar(&c.etcdSocket, "etcd-socket", "", "path of the unix socket of the etcd inside, for etcdctl, in a directory that is closed to others; empty: <data-dir>/etcd/client.sock")
	f.StringVar(&c.etcdUser, "etcd-user", "", "etcd user; its password is read from the environment, see -etcd-password-env")
	f.StringVar(&c.etcdPasswordEnv, "etcd-password-env", "COFFER_ETCD_PASSWORD", "name of the environment variable with the etcd user's password")
	f.StringVar(&c.etcdCA, "etcd-ca", "", "PEM file of the CA that signed etcd's certificates")
	f.StringVar(&c.etcdCert, "etcd-cert", "", "PEM file of this gateway's certificate for etcd, whose common name is its user there; read again at each connection")
	f.StringVar(&c.etcdKey, "etcd-key", "", "PEM file of its key")
	f.StringVar(&c.keyFile, "key-file", "", "keys that seal what waits in etcd, the same on every gateway; empty: <data-dir>/keys, made at the first start")
	f.StringVar(&c.tlsCert, "tls-cert", "", "PEM file of the certificate to serve with; read again when it changes. Empty: one of the gateways' own CA, whose certificate is <data-dir>/ca.pem")
	f.StringVar(&c.tlsKey, "tls-key", "", "PEM file of its key")
	f.StringVar(&c.tlsNames, "tls-names", "", "comma-separated DNS names and addresses of a certificate of the gateways' own CA, beside those of -listen and this machine")
	f.BoolVar(&c.insecureHTTP, "insecure-http", false, "serve plain HTTP: only behind a proxy that terminates TLS")
	f.StringVar(&c.identity, "identity", "builtin", "builtin: users in etcd, at /identity/v3; none: static tokens only")
	f.StringVar(&c.tokensFile, "tokens-file", "", "YAML file of static tokens; see docs/identity.md")
	f.StringVar(&c.passwordFile, "password-file", "", "new file that the first password is written to, for its owner alone, instead of standard output")
	f.BoolVar(&c.unauthenticated, "unauthenticated", false, "let everybody in as admin of every project; on loopback only")
	f.BoolVar(&c.trustProxy, "trust-proxy", false, "believe X-Forwarded-Proto, -Host and -For")
	corsOrigins := f.String("cors-origins", "", "comma-separated origins of web pages that browsers may let call the API, such as https://dashboard.example; empty: none")
	f.StringVar(&c.agentURLs, "agent-urls", "", "comma-separated base URLs under which guests on machines of their own reach the gateways")
	agentCA := f.String("agent-ca", "", "hex SHA-256 of the CA certificate (DER) that agents pin, or, while one takes the other's place, of both, comma-separated; empty: that of the gateways' own CA, if it signs")
	f.StringVar(&c.region, "region", "RegionOne", "region in the catalogue and in instances")
	f.DurationVar(&c.hold, "hold", 50*time.Second, "how long an agent's poll is held")
	limit := f.String("limit", "", "comma-separated name=number, what anybody may send, hold or do, -1 for no limit; docs/security.md lists the names")
	f.DurationVar(&c.drain, "drain", 20*time.Second, "how long a stop may take")
	f.StringVar(&c.backupDir, "backup-dir", "", "directory for backups and published logs, the same for every gateway; empty: <data-dir>/backups with the etcd inside, else none")
	f.StringVar(&c.s3.Endpoint, "s3-endpoint", "", "URL of an S3 server to keep them instead; keys are read from files, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	f.StringVar(&c.s3.Bucket, "s3-bucket", "", "its bucket")
	f.BoolVar(&c.s3.Create, "s3-create-bucket", false, "make the bucket when it is not there")
	f.StringVar(&c.s3.Region, "s3-region", "us-east-1", "its region")
	f.StringVar(&c.s3.Prefix, "s3-prefix", "", "what all names in the bucket begin with")
	f.BoolVar(&c.s3.PathStyle, "s3-path-style", false, "put the bucket into the path instead of the host name, for servers of one's own")
	f.StringVar(&c.s3AccessKeyFile, "s3-access-key-file", "", "file with the access key")
	f.StringVar(&c.s3SecretKeyFile, "s3-secret-key-file", "", "file with the secret key")
	f.BoolVar(&c.s3Presign, "s3-presign", false, "send agents to the S3 server itself, which they must reach over https, with URLs that are good for minutes")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.file, "config", "", "YAML file of these settings; flags and COFFER_… variables come first")
	f.BoolVar(&c.showVersion, "version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q; -help lists the flags", f.Arg(0))
	}
	if err := gateway.Settle(f, c.file); err != nil {
		return c, err
	}
	if c.keyFile == "" {
		c.keyFile = filepath.Join(c.dataDir, "keys")
	}
	if c.backupDir == "" && c.s3.Endpoint == "" && c.etcdEndpoints == "" {
		c.backupDir = filepath.Join(c.dataDir, "backups")
	}
	c.corsOrigins = list(*corsOrigins)
	var err error
	if c.agentCAs, err = agentpoll.ParseCAs(*agentCA); err != nil {
		return c, multierror.Append(fmt.Errorf("-agent-ca: %w", err), c.validate())
	}
	if c.limits, err = limits.New(list(*limit)...); err != nil {
		return c, multierror.Append(err, c.validate())
	}
	return c, c.validate()
}

// validate reports everything at once.
func (c config) validate() error {
	var problems *multierror.Error
	bad := func(format string, args ...any) { problems = multierror.Append(problems, fmt.Errorf(format, args...)) }
	host, _, err := net.SplitHostPort(c.listen)
	if err != nil {
		bad("-listen %q: want host:port", c.listen)
	}
	if _, _, err := net.SplitHostPort(c.metricsListen); c.metricsListen != "" && err != nil {
		bad("-metrics-listen %q: want host:port", c.metricsListen)
	}
	loopback := host == "localhost" || net.ParseIP(host) != nil && net.ParseIP(host).IsLoopback()
	if (c.tlsCert == "") != (c.tlsKey == "") {
		bad("-tls-cert and -tls-key go together")
	}
	if (c.etcdCert == "") != (c.etcdKey == "") {
		bad("-etcd-cert and -etcd-key go together")
	}
	if c.insecureHTTP && (c.tlsCert != "" || c.tlsNames != "") {
		bad("-insecure-http serves without TLS: leave -tls-cert and -tls-names out")
	}
	if c.tlsCert != "" && c.tlsNames != "" {
		bad("-tls-names are of a certificate that the gateway makes: leave them out with -tls-cert")
	}
	if c.unauthenticated && !loopback {
		bad("-unauthenticated needs -listen on loopback, not %s", c.listen)
	}
	for _, origin := range c.corsOrigins {
		if err := gateway.CheckOrigin(origin); err != nil {
			bad("-cors-origins: %v", err)
		}
	}
	if c.identity != "builtin" && c.identity != "none" {
		bad("-identity %q: want builtin or none", c.identity)
	}
	if c.identity == "none" && c.tokensFile == "" && !c.unauthenticated {
		bad("-identity none needs -tokens-file: nobody could log in")
	}
	if c.hold < time.Second || c.hold > 10*time.Minute {
		bad("-hold %s: want 1s to 10m", c.hold)
	}
	for _, problem := range c.blobProblems() {
		bad("%s", problem)
	}
	return problems.ErrorOrNil()
}

// blobProblems is what is wrong with the place for backups.
func (c config) blobProblems() (problems []string) {
	if c.backupDir != "" && c.s3.Endpoint != "" {
		problems = append(problems, "-backup-dir and -s3-endpoint: want one of them")
	}
	if (c.s3.Endpoint == "") != (c.s3.Bucket == "") {
		problems = append(problems, "-s3-endpoint and -s3-bucket go together")
	}
	if (c.s3AccessKeyFile == "") != (c.s3SecretKeyFile == "") {
		problems = append(problems, "-s3-access-key-file and -s3-secret-key-file go together")
	}
	if c.s3.Endpoint == "" && (c.s3Presign || c.s3.Prefix != "" || c.s3AccessKeyFile != "") {
		problems = append(problems, "-s3-presign, -s3-prefix and -s3-access-key-file need -s3-endpoint")
	}
	return problems
}

// list splits a comma-separated flag.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
