package host

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// Config says where a host lives and what it has to give.
type Config struct {
	Gateways  []string // base URLs
	CA        string   // see agent.Config.CA
	AllowHTTP bool     // see agent.Config.AllowHTTP
	Token     string   // enrolment token, single use; not needed once enrolled
	Version   string   // of the binary

	Dir    string // absolute; everything of the host and its instances
	Guests string // absolute; the directory of guest binaries, each named <manager>-guest

	// GuestKeys are those that sign guest binaries; one that none of them has signed does not run. None: no signature is asked for.
	GuestKeys []ed25519.PublicKey

	Name      string               // "": the machine's host name
	Place     deployments.Place    // that the host enrols with
	Capacity  deployments.Capacity // each 0: what the machine has
	Pool      string               // "": see [DefaultPool], [DefaultSandboxPool]
	Interface string               // where addresses of other pools than 127/8 are added. "": lo
	UIDs      Range                // the zero Range: 20000-29999. Only these users are ever given or killed by the driver process

	IO IOLimit // of each instance

	ImageDir string   // absolute; the trees of files that instances may run in. "": none
	Driver   string   // "oci" or "process", for new instances. "": oci
	Runtime  string   // the OCI runtime. "": runc
	IDs      Range    // the zero Range: 1879048192-2147483647. The driver oci gives them
	Egress   []string // where instances may connect to beside gateways and peers: "10.0.0.0/8", "10.0.0.5:9000"

	// FirewallTable is the nftables table of family inet that the host has to itself. "": coffer
	FirewallTable string
	// Every is how often guests and the guest directory are looked at. 0: 3 s
	Every time.Duration
	Log   *slog.Logger // nil: nothing is logged
}

// The pools of a host that is told of none: for development, since nobody outside of the machine can reach them.
const (
	DefaultPool        = "127.77.0.0/16"
	DefaultSandboxPool = "10.77.0.0/16" // of the driver oci
)

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name, _ = os.Hostname()
	}
	c.Interface = cmp.Or(c.Interface, "lo")
	c.UIDs = cmp.Or(c.UIDs, Range{20000, 29999})
	c.Driver = cmp.Or(c.Driver, driverSandbox)
	if c.Pool == "" && c.Driver == driverSandbox {
		c.Pool = DefaultSandboxPool
	}
	c.Pool = cmp.Or(c.Pool, DefaultPool)
	c.Runtime = cmp.Or(c.Runtime, "runc")
	c.IDs = cmp.Or(c.IDs, Range{0x70000000, 0x7fffffff})
	c.FirewallTable = cmp.Or(c.FirewallTable, "coffer")
	c.Every = cmp.Or(c.Every, 3*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns every problem of the configuration, joined. The agent checks Gateways and CA.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	for _, d := range []struct{ flag, value string }{{"dir", c.Dir}, {"guests", c.Guests}} {
		if !filepath.IsAbs(d.value) {
			errs = append(errs, fmt.Errorf("-%s: want an absolute path, not %q", d.flag, d.value))
		}
	}
	if c.ImageDir != "" && !filepath.IsAbs(c.ImageDir) {
		errs = append(errs, fmt.Errorf("-image-dir: want an absolute path, not %q", c.ImageDir))
	}
	errs = append(errs, c.Place.Mistakes()...)
	if _, err := deployments.ParsePool(c.Pool); err != nil {
		errs = append(errs, fmt.Errorf("-address-pool: %w", err))
	}
	if c.Driver != driverSandbox && c.Driver != driverProcess {
		errs = append(errs, fmt.Errorf("-driver: %q is neither %s nor %s", c.Driver, driverSandbox, driverProcess))
	}
	if c.IDs.First < sandbox.Size || c.IDs.Last-c.IDs.First+1 < sandbox.Size {
		errs = append(errs, fmt.Errorf("-ids: %s is not a range of %d ids or more above %d", c.IDs, sandbox.Size, sandbox.Size-1))
	}
	for _, text := range c.Egress {
		if _, err := parseEgress(text); err != nil {
			errs = append(errs, fmt.Errorf("-egress: %w", err))
		}
	}
	if c.UIDs.First < 1000 || c.UIDs.Last < c.UIDs.First {
		errs = append(errs, fmt.Errorf("-uids: %s is not a range above 999, such as 20000-29999", c.UIDs))
	}
	if c.Capacity.MemoryMB < 0 || c.Capacity.VCPUs < 0 || c.Capacity.DiskGB < 0 {
		errs = append(errs, errors.New("-memory, -vcpus, -disk: want no negative number"))
	}
	if c.IO.Operations < 0 || c.IO.Bytes < 0 {
		errs = append(errs, errors.New("-iops-per-instance, -io-bytes-per-instance: want no negative number"))
	}
	return errors.Join(errs...)
}

// envPrefix and a flag's name in capitals is the environment variable that stands in for the flag.
const envPrefix = "COFFER_HOST_"

// ParseFlags reads the command line, and the environment for what the command line does not say.
func ParseFlags(args []string, getenv func(string) string, usage io.Writer) (Config, error) {
	var c Config
	var tokenFile string
	fs := flag.NewFlagSet("coffer-host", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.Func("gateways", "base `URLs` of the gateways, comma-separated", func(s string) error {
		c.Gateways = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	})
	fs.StringVar(&c.CA, "ca", "", "hex SHA-256 `fingerprint` of the CA that signed the gateways' certificates, or several, comma-separated (default: those of the enrolment token, then those that gateways name)")
	fs.BoolVar(&c.AllowHTTP, "allow-http", false, "take http:// gateways: only behind a proxy that adds TLS, and in tests. Whoever gets hold of the port acts for the gateway")
	fs.StringVar(&c.Token, "token", "", "enrolment `token`; others can see it here: prefer -token-file or the environment")
	fs.StringVar(&tokenFile, "token-file", "", "`file` that holds the enrolment token")
	fs.StringVar(&c.Dir, "dir", "/var/lib/coffer-host", "`directory` of the host and its instances")
	fs.StringVar(&c.Guests, "guests", "/usr/lib/coffer/guests", "`directory` of the guest binaries, each named <manager>-guest")
	fs.Func("guest-key", "public `key` of those that sign guest binaries, as coffer guest key prints it; may be given again. Others than signed ones then do not run", func(text string) error {
		key, err := deployments.ParseGuestKey(text)
		c.GuestKeys = append(c.GuestKeys, key)
		return err
	})
	fs.StringVar(&c.ImageDir, "image-dir", "/var/lib/coffer/images", "`directory` of images: trees of files, made by deployments/images, that definitions name and servers of -driver oci run in")
	fs.StringVar(&c.Name, "name", "", "the host's `name` (default: the machine's)")
	fs.StringVar(&c.Pool, "address-pool", "", "IPv4 `network` that instances get their addresses from (default "+DefaultSandboxPool+", or "+DefaultPool+" with -driver process); two hosts on one machine need two")
	fs.StringVar(&c.Interface, "interface", "lo", "network interface where instances' addresses are had from outside")
	fs.IntVar(&c.Capacity.MemoryMB, "memory", 0, "`MB` of memory to give (default: the machine's)")
	fs.IntVar(&c.Capacity.VCPUs, "vcpus", 0, "processors to give (default: the machine's)")
	fs.IntVar(&c.Capacity.DiskGB, "disk", 0, "`GB` of disk to give (default: what the filesystem has left, less a twentieth of it, 10 GB at most)")
	fs.Int64Var(&c.IO.Operations, "iops-per-instance", 0, "`operations` a second that each instance may read, and as many write (default: no limit)")
	fs.Int64Var(&c.IO.Bytes, "io-bytes-per-instance", 0, "`bytes` a second that each instance may read, and as many write (default: no limit)")
	fs.StringVar(&c.FirewallTable, "firewall-table", "coffer", "nftables `table` of the host's own; two hosts on one machine need two")
	fs.StringVar(&c.Driver, "driver", "", "how instances run: oci, each in a sandbox of its own, or process, without walls and of one project only, for development (default oci)")
	fs.StringVar(&c.Runtime, "runtime", "", "the OCI runtime of -driver oci (default runc)")
	fs.Func("egress", "`networks`, or addresses with ports, comma-separated, that instances of -driver oci may connect to beside gateways and each other's sets: such as an S3 store", func(s string) error {
		c.Egress = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	})
	ids := func(name, usage string, r *Range) {
		fs.Func(name, usage, func(s string) error {
			_, err := fmt.Sscanf(s, "%d-%d", &r.First, &r.Last)
			return err
		})
	}
	ids("uids", "`range` of user ids for instances of -driver process (default 20000-29999); two hosts on one machine need two", &c.UIDs)
	ids("ids", "`range` of user and group ids for instances of -driver oci, 1024 each (default 1879048192-2147483647); two hosts on one machine need two", &c.IDs)
	fs.StringVar(&c.Place.Zone, "availability-zone", "", "the `zone` that the host enrols in; coffer host set changes it")
	fs.Func("label", "`key=value` for the placement of instances, that the host enrols with; may be repeated, or comma-separated; coffer host set changes them", func(s string) error {
		for pair := range strings.SplitSeq(s, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok || key == "" {
				return fmt.Errorf("want key=value, not %q", pair)
			}
			if c.Place.Labels == nil {
				c.Place.Labels = datastores.Labels{}
			}
			c.Place.Labels[key] = value
		}
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err := fromEnvironment(fs, getenv); err != nil {
		return c, err
	}
	if tokenFile != "" {
		b, err := os.ReadFile(tokenFile)
		if err != nil {
			return c, fmt.Errorf("-token-file: %w", err)
		}
		c.Token = strings.TrimSpace(string(b))
	}
	return c, c.Validate()
}

func fromEnvironment(fs *flag.FlagSet, getenv func(string) string) error {
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := getenv(name); value != "" && !given[f.Name] {
			if err := fs.Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}
