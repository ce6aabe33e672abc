// Package config has every setting of a node in one table: its flag, its variables, its default and its sentence. It is
// the only package that reads the environment. A flag wins over a variable, a variable over the file of --env-file, the
// file over the default.
package config

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Secret is a value that is not printed.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Config is the settings of a node.
type Config struct {
	EnvFile string

	Addr        string
	MetricsAddr string
	Data        string
	Endpoint    string
	Domain      string
	Region      string

	Hostnames       []string
	ProtectRouter   bool
	ForceAPIHTTPS   bool
	ForceHTTPS      bool
	DomainTarget    []string
	DomainA         []netip.Addr
	DomainAAAA      []netip.Addr
	NameServer      string
	RuleIDs         string
	TrustedProxies  []netip.Prefix
	ClientIPHeaders []string
	GeoDatabase     string
	RateLimits      bool

	BootstrapProject string
	BootstrapKey     Secret
	Secret           Secret

	Sandbox      string
	Insecure     bool
	Bubblewrap   string
	OCIRuntime   string
	SandboxFloor string

	Environment    string
	ResponseFormat string

	Network      string
	NetworkRange netip.Prefix
	NetworkAllow []netip.Prefix
	NetworkDeny  []netip.Prefix
	NetworkPorts []int

	NATS                Secret
	RealtimeConnections int

	LogLevel  string
	LogFormat string

	Runtimes         []string
	MaxTimeout       time.Duration
	MaxCPUs          float64
	MaxMemory        int
	CreationLimit    int
	Retention        time.Duration
	ExecutionLimit   int
	MaxWorkers       int
	KeepAlive        time.Duration
	CallConcurrency  int
	ScheduleSpread   int
	TriggerHops      int
	WebhookAllow     []netip.Prefix
	CallLease        time.Duration
	BuildTimeout     time.Duration
	BuildConcurrency int
	MaxSource        int64
	MaxOutput        int64
	BuildEnvironment []string
	StopTimeout      time.Duration
}

// Setting is one row of the table.
type Setting struct {
	Name     string   // of the flag
	Variable string   // of the environment
	Aliases  []string // the reference's variables that mean the same
	Default  string
	Help     string
	target   any
}

// Settings returns the table; the rows write into c.
func (c *Config) Settings() []Setting {
	return []Setting{
		{"env-file", "FLINT_ENV_FILE", nil, "", "file with KEY=value lines, read like the environment", &c.EnvFile},
		{"addr", "FLINT_ADDR", nil, "127.0.0.1:8080", "address of the API and of the functions' domains", &c.Addr},
		{"metrics-addr", "FLINT_METRICS_ADDR", nil, "", "address of /metrics for Prometheus; empty: none", &c.MetricsAddr},
		{"data", "FLINT_DATA", nil, "./flint-data", "directory of everything that the node keeps", &c.Data},
		{"endpoint", "FLINT_ENDPOINT", nil, "", "URL of the API as functions reach it, ending in /v1; empty: made from --addr", &c.Endpoint},
		{"functions-domain", "FLINT_FUNCTIONS_DOMAIN", []string{"_APP_DOMAIN_FUNCTIONS"}, "functions.localhost", "functions are at <id>.<this domain>", &c.Domain},
		{"region", "FLINT_REGION", []string{"_APP_REGION"}, "default", "region that functions are told", &c.Region},

		{"hostnames", "FLINT_HOSTNAMES", []string{"_APP_DOMAIN", "_APP_CONSOLE_DOMAIN", "_APP_MIGRATION_HOST"}, "", "host names of the API, separated by commas; they can have no rule", &c.Hostnames},
		{"router-protection", "FLINT_ROUTER_PROTECTION", []string{"_APP_OPTIONS_ROUTER_PROTECTION"}, "false", "refuse hosts that are neither of the API nor of a rule; else they are the API's", &c.ProtectRouter},
		{"force-https", "FLINT_FORCE_HTTPS", []string{"_APP_OPTIONS_FORCE_HTTPS"}, "false", "send callers of the API who come by plain http to https, but for this machine's own names and the host of an --endpoint with http", &c.ForceAPIHTTPS},
		{"router-force-https", "FLINT_ROUTER_FORCE_HTTPS", []string{"_APP_OPTIONS_ROUTER_FORCE_HTTPS", "_APP_OPTIONS_FUNCTIONS_FORCE_HTTPS"}, "false", "send callers of functions who come by plain http to https", &c.ForceHTTPS},
		{"domain-target", "FLINT_DOMAIN_TARGET", []string{"_APP_DOMAIN_TARGET_CNAME", "_APP_DOMAIN_TARGET"}, "", "names that domains of your own must lead to, separated by commas, to be verified", &c.DomainTarget},
		{"domain-target-a", "FLINT_DOMAIN_TARGET_A", []string{"_APP_DOMAIN_TARGET_A"}, "", "IPv4 addresses that do as well", &c.DomainA},
		{"domain-target-aaaa", "FLINT_DOMAIN_TARGET_AAAA", []string{"_APP_DOMAIN_TARGET_AAAA"}, "", "IPv6 addresses that do as well", &c.DomainAAAA},
		{"dns", "FLINT_DNS", []string{"_APP_DNS"}, "", "name server that is asked about domains, as address or address:port; empty: the host's own", &c.NameServer},
		{"rule-ids", "FLINT_RULE_IDS", []string{"_APP_RULES_FORMAT"}, "random", "identifiers of new proxy rules: random, or md5 of the domain", &c.RuleIDs},
		{"trusted-proxies", "FLINT_TRUSTED_PROXIES", nil, "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,fc00::/7,fe80::/10", "networks of the proxies that are believed about clients, separated by commas, or none", &c.TrustedProxies},
		{"client-ip-headers", "FLINT_CLIENT_IP_HEADERS", []string{"_APP_TRUSTED_HEADERS"}, "x-forwarded-for", "headers in which trusted proxies name the client, separated by commas", &c.ClientIPHeaders},
		{"geo-database", "FLINT_GEO_DATABASE", nil, "", "MMDB file that tells in which country an address is; empty: the one in the program", &c.GeoDatabase},
		{"rate-limits", "FLINT_RATE_LIMITS", []string{"_APP_OPTIONS_ABUSE"}, "true", "limit how often some endpoints may be called", &c.RateLimits},

		{"bootstrap-project", "FLINT_BOOTSTRAP_PROJECT", nil, "", "project that is made at start when it is missing", &c.BootstrapProject},
		{"bootstrap-key", "FLINT_BOOTSTRAP_KEY", nil, "", "API key with every scope for the bootstrap project, standard_ and hexadecimal digits", &c.BootstrapKey},
		{"secret", "FLINT_SECRET", []string{"_APP_OPENSSL_KEY_V1"}, "", "what variables and keys are encrypted and signed with; empty: made once and kept in the data directory", &c.Secret},

		{"sandbox", "FLINT_SANDBOX", nil, "bubblewrap", "what keeps functions apart: bubblewrap, oci or none", &c.Sandbox},
		{"insecure-no-sandbox", "FLINT_INSECURE_NO_SANDBOX", nil, "false", "allow --sandbox=none, which isolates nothing: for development only", &c.Insecure},
		{"bubblewrap", "FLINT_BUBBLEWRAP", nil, "", "path of bwrap; empty: looked for on the path", &c.Bubblewrap},
		{"oci-runtime", "FLINT_OCI_RUNTIME", nil, "", "name or path of runc, crun or runsc for --sandbox=oci; empty: the first of them on the path", &c.OCIRuntime},
		{"sandbox-floor", "FLINT_SANDBOX_FLOOR", nil, "", "worst grade of flint probe with which the node starts: A, B, C or D; empty: it does not ask", &c.SandboxFloor},

		{"network", "FLINT_NETWORK", nil, "auto", "network of functions and builds: isolated is one of their own for each, without the host and private networks; host is the host's; none leaves functions the API alone; auto is isolated where the machine can, else host with a warning", &c.Network},
		{"network-range", "FLINT_NETWORK_RANGE", nil, "198.18.0.0/16", "IPv4 network, of /12 to /24, that isolated networks have their addresses in; nodes of one machine share it", &c.NetworkRange},
		{"network-allow", "FLINT_NETWORK_ALLOW", nil, "none", "IPv4 networks that isolated functions and builds reach although they are private, separated by commas; the longest prefix that holds an address decides. An address of the machine itself must be named by itself", &c.NetworkAllow},
		{"network-deny", "FLINT_NETWORK_DENY", nil, "none", "IPv4 networks that they do not reach, separated by commas", &c.NetworkDeny},
		{"network-ports", "FLINT_NETWORK_PORTS", nil, "", "ports of the machine's own 127.0.0.1 that isolated functions and builds reach on theirs, separated by commas: a database, for example", &c.NetworkPorts},

		{"nats", "FLINT_NATS", nil, "", "URL of a NATS cluster with JetStream to tell things by, whose account is this installation's alone, or several separated by commas: nats://user:password@host:4222, tls:// for encryption; empty: a server inside the node", &c.NATS},
		{"realtime-connections", "FLINT_REALTIME_CONNECTIONS", nil, "10000", "clients that may be connected to /v1/realtime at once", &c.RealtimeConnections},

		{"environment", "FLINT_ENVIRONMENT", []string{"_APP_ENV"}, "production", "production, or development: errors of the API carry their causes, also those that are nobody's business", &c.Environment},
		{"response-format", "FLINT_RESPONSE_FORMAT", []string{"_APP_SYSTEM_RESPONSE_FORMAT"}, "", "version whose shapes clients get who do not say one, such as 1.8.0; empty: the newest", &c.ResponseFormat},
		{"log-level", "FLINT_LOG_LEVEL", nil, "info", "least important lines that are logged: debug, info, warn or error", &c.LogLevel},
		{"log-format", "FLINT_LOG_FORMAT", nil, "auto", "text, json, or auto: text on a terminal", &c.LogFormat},

		{"runtimes", "FLINT_RUNTIMES", []string{"_APP_FUNCTIONS_RUNTIMES"}, "", "runtimes on offer, separated by commas; empty: all that have a toolchain here", &c.Runtimes},
		{"max-timeout", "FLINT_MAX_TIMEOUT", []string{"_APP_FUNCTIONS_TIMEOUT"}, "15m", "longest timeout that a function may have", &c.MaxTimeout},
		{"max-cpus", "FLINT_MAX_CPUS", []string{"_APP_COMPUTE_CPUS"}, "0", "largest number of processors of a specification; 0: no limit", &c.MaxCPUs},
		{"max-memory", "FLINT_MAX_MEMORY", []string{"_APP_COMPUTE_MEMORY"}, "0", "largest memory of a specification in MB; 0: no limit", &c.MaxMemory},
		{"function-creations", "FLINT_FUNCTION_CREATIONS", []string{"_APP_FUNCTIONS_CREATION_ABUSE_LIMIT"}, "50", "functions that a project may create in a day; 0: no limit", &c.CreationLimit},
		{"execution-retention", "FLINT_EXECUTION_RETENTION", []string{"_APP_MAINTENANCE_RETENTION_EXECUTION"}, "336h", "how long executions are kept", &c.Retention},
		{"execution-limit", "FLINT_EXECUTION_LIMIT", nil, "0", "finished executions that are kept of a function, the newest ones; 0: no limit", &c.ExecutionLimit},
		{"max-workers", "FLINT_MAX_WORKERS", nil, "0", "workers of all functions on this node; an eighth of them is for calls that functions make; 0: one for each 64 MB of memory that the machine has or the node's control group allows, at least 16", &c.MaxWorkers},
		{"keep-alive", "FLINT_KEEP_ALIVE", []string{"_APP_FUNCTIONS_INACTIVE_THRESHOLD"}, "5m", "how long a worker without calls stays", &c.KeepAlive},
		{"call-concurrency", "FLINT_CALL_CONCURRENCY", nil, "64", "queued calls that run at once on this node", &c.CallConcurrency},
		{"schedule-spread", "FLINT_SCHEDULE_SPREAD", []string{"_APP_FUNCTIONS_SCHEDULE_SPREAD"}, "0", "longest delay of scheduled runs in seconds, so that they do not all begin at once; each function has its own part of it", &c.ScheduleSpread},
		{"trigger-hops", "FLINT_TRIGGER_HOPS", nil, "8", "events that may trigger a function in turn before the chain is cut, see docs/events.md", &c.TriggerHops},
		{"webhook-allow", "FLINT_WEBHOOK_ALLOW", nil, "none", "networks that webhooks may be in although they are this machine or private, separated by commas, or none", &c.WebhookAllow},
		{"call-lease", "FLINT_CALL_LEASE", nil, "30s", "how long a queued call that runs may go without a sign of life from its node before it counts as lost, of 1s to 10m", &c.CallLease},
		{"build-timeout", "FLINT_BUILD_TIMEOUT", []string{"_APP_COMPUTE_BUILD_TIMEOUT"}, "15m", "how long a build may take", &c.BuildTimeout},
		{"build-concurrency", "FLINT_BUILD_CONCURRENCY", nil, "2", "builds that run at once on this node", &c.BuildConcurrency},
		{"max-source", "FLINT_MAX_SOURCE", []string{"_APP_COMPUTE_SIZE_LIMIT"}, "30000000", "largest upload in bytes", &c.MaxSource},
		{"max-output", "FLINT_MAX_OUTPUT", []string{"_APP_COMPUTE_BUILD_SIZE_LIMIT"}, "2000000000", "largest built package in bytes", &c.MaxOutput},
		{"build-environment", "FLINT_BUILD_ENVIRONMENT", nil, defaultBuildEnvironment, "variables of the node that builds get when they are set, separated by commas: proxies, registries, certificates", &c.BuildEnvironment},
		{"stop-timeout", "FLINT_STOP_TIMEOUT", nil, "35s", "how long calls that run may take to finish when the node stops", &c.StopTimeout},
	}
}

// defaultBuildEnvironment is what package managers read to find their registries. None of it holds a password by habit;
// an operator whose does leaves it out.
const defaultBuildEnvironment = "HTTP_PROXY,HTTPS_PROXY,NO_PROXY,ALL_PROXY,http_proxy,https_proxy,no_proxy,all_proxy," +
	"SSL_CERT_FILE,SSL_CERT_DIR,NODE_EXTRA_CA_CERTS,REQUESTS_CA_BUNDLE,CURL_CA_BUNDLE,GIT_SSL_CAINFO," +
	"npm_config_registry,NPM_CONFIG_REGISTRY,npm_config_cafile,YARN_REGISTRY," +
	"PIP_INDEX_URL,PIP_EXTRA_INDEX_URL,PIP_CERT,PIP_TRUSTED_HOST,PIP_DEFAULT_TIMEOUT," +
	"GOPROXY,GONOSUMDB,GONOSUMCHECK,GOSUMDB,GOPRIVATE,GONOPROXY,GOINSECURE"

// Flags adds the flags of all settings to fs.
func Flags(fs *pflag.FlagSet) {
	for _, s := range (&Config{}).Settings() {
		help := s.Help + " (" + strings.Join(append([]string{s.Variable}, s.Aliases...), ", ") + ")"
		if _, isBool := s.target.(*bool); isBool {
			fs.Bool(s.Name, s.Default == "true", help)
		} else {
			fs.String(s.Name, s.Default, help)
		}
	}
}

// Load reads the settings. lookup finds variables of the environment.
func Load(fs *pflag.FlagSet, lookup func(string) (string, bool)) (Config, error) {
	var c Config
	file := map[string]string{}
	for _, s := range c.Settings() { // the first row names the file
		value, from := s.Default, "the default of --"+s.Name
		for _, name := range append([]string{s.Variable}, s.Aliases...) {
			if v, ok := lookup(name); ok && v != "" {
				value, from = v, name
				break
			}
			if v, ok := file[name]; ok && v != "" {
				value, from = v, name+" in "+c.EnvFile
				break
			}
		}
		if f := fs.Lookup(s.Name); f != nil && f.Changed {
			value, from = f.Value.String(), "--"+s.Name
		}
		if err := s.set(value); err != nil {
			return c, fmt.Errorf("%s: %w", from, err)
		}
		if s.Name == "env-file" && value != "" {
			var err error
			if file, err = readFile(value); err != nil {
				return c, err
			}
		}
	}
	return c, c.check()
}

func (s *Setting) set(value string) (err error) {
	switch t := s.target.(type) {
	case *string:
		*t = value
	case *Secret:
		*t = Secret(value)
	case *bool:
		switch strings.ToLower(value) {
		case "true", "1", "yes", "enabled":
			*t = true
		case "false", "0", "no", "disabled", "":
			*t = false
		default:
			return fmt.Errorf("%q is neither true nor false", value)
		}
	case *int:
		if *t, err = strconv.Atoi(value); err != nil || *t < 0 {
			return fmt.Errorf("%q is not a whole number of at least 0", value)
		}
	case *int64:
		if *t, err = strconv.ParseInt(value, 10, 64); err != nil || *t < 0 {
			return fmt.Errorf("%q is not a whole number of at least 0", value)
		}
	case *float64:
		if *t, err = strconv.ParseFloat(value, 64); err != nil || *t < 0 {
			return fmt.Errorf("%q is not a number of at least 0", value)
		}
	case *time.Duration:
		if _, numeric := strconv.Atoi(value); numeric == nil {
			value += "s" // the reference's durations are seconds
		}
		if *t, err = time.ParseDuration(value); err != nil || *t <= 0 {
			return fmt.Errorf("%q is not a duration such as 90s or 15m", value)
		}
	case *[]string:
		*t = nil
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*t = append(*t, part)
			}
		}
	case *[]int:
		*t = nil
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is not a whole number of at least 0", part)
			}
			*t = append(*t, n)
		}
	case *[]netip.Addr:
		*t = nil
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			a, err := netip.ParseAddr(part)
			if err != nil {
				return fmt.Errorf("%q is not an IP address", part)
			}
			*t = append(*t, a.Unmap())
		}
	case *netip.Prefix:
		p, err := netip.ParsePrefix(value)
		if err != nil {
			return fmt.Errorf("%q is not a network such as 10.0.0.0/8", value)
		}
		*t = p.Masked()
	case *[]netip.Prefix:
		*t = nil
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part == "" || part == "none" {
				continue
			}
			p, err := netip.ParsePrefix(part)
			if a, single := netip.ParseAddr(part); single == nil {
				p, err = a.Unmap().Prefix(a.Unmap().BitLen())
			}
			if err != nil {
				return fmt.Errorf("%q is not a network such as 10.0.0.0/8", part)
			}
			*t = append(*t, p.Masked())
		}
	default:
		return fmt.Errorf("setting of type %T", t)
	}
	return nil
}

// maxWorkers is far beyond what a machine can do.
const maxWorkers = 100_000

var versionPattern = regexp.MustCompile(`^\d{1,4}[.]\d{1,4}[.]\d{1,4}$`)

// check says what does not fit together, and fills in what follows from the rest.
func (c *Config) check() error {
	switch c.Sandbox {
	case "bubblewrap", "oci":
	case "none":
		if !c.Insecure {
			return fmt.Errorf("--sandbox=none isolates nothing: functions can read and do whatever this process can. Add --insecure-no-sandbox if that is what you want")
		}
	default:
		return fmt.Errorf("--sandbox=%s: bubblewrap, oci and none are possible", c.Sandbox)
	}
	if c.CallLease < time.Second || c.CallLease > 10*time.Minute {
		return fmt.Errorf("--call-lease=%s: 1s to 10m are possible", c.CallLease)
	}
	if c.SandboxFloor != "" && (len(c.SandboxFloor) != 1 || !strings.Contains("ABCD", c.SandboxFloor)) {
		return fmt.Errorf("--sandbox-floor=%s: A, B, C and D are possible", c.SandboxFloor)
	}
	if c.SandboxFloor != "" && c.Sandbox == "none" {
		return fmt.Errorf("--sandbox-floor=%s: --sandbox=none is below every floor", c.SandboxFloor)
	}
	if err := c.checkNetwork(); err != nil {
		return err
	}
	if (c.BootstrapProject == "") != (c.BootstrapKey == "") {
		return fmt.Errorf("FLINT_BOOTSTRAP_PROJECT and FLINT_BOOTSTRAP_KEY go together")
	}
	if c.BootstrapKey != "" && (!strings.HasPrefix(string(c.BootstrapKey), "standard_") || len(c.BootstrapKey) < len("standard_")+16) {
		return fmt.Errorf("FLINT_BOOTSTRAP_KEY must be standard_ followed by at least 16 characters, for example: standard_$(openssl rand -hex 128)")
	}
	if c.MaxWorkers < 0 || c.MaxWorkers > maxWorkers {
		return fmt.Errorf("--max-workers=%d: 0 to %d are possible", c.MaxWorkers, maxWorkers)
	}
	if c.TriggerHops < 1 || c.TriggerHops > 100 {
		return fmt.Errorf("--trigger-hops=%d: 1 to 100 are possible", c.TriggerHops)
	}
	if c.LogFormat != "auto" && c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("--log-format=%s: auto, text and json are possible", c.LogFormat)
	}
	if c.Environment != "production" && c.Environment != "development" {
		return fmt.Errorf("--environment=%s: production and development are possible", c.Environment)
	}
	if c.ResponseFormat != "" && !versionPattern.MatchString(c.ResponseFormat) {
		return fmt.Errorf("--response-format=%s: it must be a version such as 1.8.0", c.ResponseFormat)
	}
	if c.RuleIDs != "random" && c.RuleIDs != "md5" {
		return fmt.Errorf("--rule-ids=%s: random and md5 are possible", c.RuleIDs)
	}
	for i, name := range c.Hostnames {
		c.Hostnames[i] = strings.ToLower(strings.Trim(name, "."))
	}
	for i, name := range c.DomainTarget {
		c.DomainTarget[i] = strings.ToLower(strings.Trim(name, "."))
	}
	c.Domain, _, _ = strings.Cut(c.Domain, ",") // the reference takes several; names are made below the first
	if c.Domain = strings.ToLower(strings.Trim(c.Domain, ".")); c.Domain == "" {
		return fmt.Errorf("--functions-domain must not be empty")
	}
	var err error
	c.Data, err = filepath.Abs(c.Data)
	return err
}

// checkNetwork says what no network can be made from.
func (c *Config) checkNetwork() error {
	if !slices.Contains([]string{"auto", "isolated", "host", "none"}, c.Network) {
		return fmt.Errorf("--network=%s: auto, isolated, host and none are possible", c.Network)
	}
	if c.Sandbox == "none" && (c.Network == "isolated" || c.Network == "none") {
		return fmt.Errorf("--network=%s: without a sandbox functions have the host's network", c.Network)
	}
	if r := c.NetworkRange; !r.Addr().Is4() || r.Bits() < 12 || r.Bits() > 24 {
		return fmt.Errorf("--network-range=%s: it must be an IPv4 network of /12 to /24", r)
	}
	for _, p := range c.NetworkPorts {
		if p == 0 || p > 65535 || p == 53 {
			return fmt.Errorf("--network-ports: %d is no port that can be shown to functions", p)
		}
	}
	if len(c.NetworkPorts) > 32 {
		return fmt.Errorf("--network-ports: %d ports are more than 32", len(c.NetworkPorts))
	}
	for name, list := range map[string][]netip.Prefix{"allow": c.NetworkAllow, "deny": c.NetworkDeny} {
		for _, p := range list {
			if !p.Addr().Is4() {
				return fmt.Errorf("--network-%s: %s is not an IPv4 network, and isolated functions have no IPv6", name, p)
			}
		}
		if len(list) > 100 {
			return fmt.Errorf("--network-%s: %d networks are more than 100", name, len(list))
		}
	}
	return nil
}

// readFile reads KEY=value lines. Empty lines and those that begin with # are passed over; quotes around a value go.
func readFile(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	values := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return nil, fmt.Errorf("%s:%d: not a KEY=value line", name, n)
		}
		value = strings.TrimSpace(value)
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		values[strings.TrimSpace(key)] = value
	}
	return values, lines.Err()
}

// Write prints the effective settings as KEY=value lines, secrets masked: what an env-file looks like.
func (c *Config) Write(w io.Writer) error {
	for _, s := range c.Settings() {
		var value string
		switch t := s.target.(type) {
		case *[]string:
			value = strings.Join(*t, ",")
		case *[]int:
			value = strings.Trim(strings.Join(strings.Fields(fmt.Sprint(*t)), ","), "[]")
		case *[]netip.Addr:
			value = list(*t)
		case *netip.Prefix:
			value = t.String()
		case *[]netip.Prefix:
			value = cmp.Or(list(*t), "none")
		case *string:
			value = *t
		case *Secret:
			value = t.String()
		case *bool:
			value = strconv.FormatBool(*t)
		case *int:
			value = strconv.Itoa(*t)
		case *int64:
			value = strconv.FormatInt(*t, 10)
		case *float64:
			value = strconv.FormatFloat(*t, 'f', -1, 64)
		case *time.Duration:
			value = t.String()
		}
		if _, err := fmt.Fprintf(w, "# %s\n%s=%s\n", s.Help, s.Variable, value); err != nil {
			return err
		}
	}
	return nil
}

// list writes values with commas between them.
func list[T fmt.Stringer](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return strings.Join(texts, ",")
}

// Environ returns the variables called names that are set, as KEY=value.
func Environ(names []string) []string {
	var set []string
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			set = append(set, name+"="+value)
		}
	}
	return set
}

// All returns the whole environment of the process, for programs that are the operator's own.
func All() []string { return os.Environ() }

// Path returns where programs are looked for.
func Path() string { return os.Getenv("PATH") }
