package cordee_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const composeFile = "docker-compose.yml"

// compose is the used part of docker-compose.yml. A key that is not here fails
// the parser, so that nothing weakens a container unseen (cap_add, privileged,
// devices, host networks).
type compose struct {
	Name     string
	Hardened yaml.Node `yaml:"x-hardened"`
	Cordee   yaml.Node `yaml:"x-cordee"`
	Services map[string]*service
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]*struct{}
}

type service struct {
	Image string
	Build *struct {
		Context string
		Args    map[string]string
	}
	Profiles    []string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Restart     string
	PidsLimit   int `yaml:"pids_limit"`
	Logging     struct {
		Driver  string
		Options map[string]string
	}
	DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
	Entrypoint      []string
	Command         []string
	Environment     map[string]string
	Volumes         []string
	Tmpfs           []string
	Ports           []string
	Networks        []string
	NetworkMode     string `yaml:"network_mode"`
	Ulimits         struct{ Nofile struct{ Soft, Hard int } }
	StopGracePeriod string `yaml:"stop_grace_period"`
	Healthcheck     *struct {
		Test              []string
		Disable           bool
		Interval, Timeout string
		StartPeriod       string `yaml:"start_period"`
		Retries           int
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)(?::-([^}]*))?\}`)

// readCompose parses text as compose does where no variable is set.
func readCompose(text string) (*compose, error) {
	var bare []string
	text = variable.ReplaceAllStringFunc(text, func(v string) string {
		m := variable.FindStringSubmatch(v)
		if m[2] == "" {
			bare = append(bare, m[1])
		}
		return m[2]
	})
	if bare != nil {
		return nil, fmt.Errorf("without default: %s", bare)
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	c := new(compose)
	return c, d.Decode(c)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func theCompose(t *testing.T) *compose {
	t.Helper()
	c, err := readCompose(readFile(t, composeFile))
	if err != nil {
		t.Fatalf("%s: %v", composeFile, err)
	}
	return c
}

// oneShot is the service that ends at once, and so has no health.
const oneShot = "prepare"

// strangers are what may listen on the host without a profile: rigs' port alone.
var strangers = map[string]string{"cordee": "3333"}

var versionTag = regexp.MustCompile(`^[\w./-]+:v?\d+(\.\d+)+(-[a-z]+)?$`)

// faults says what is wrong with c, one line each.
func (c *compose) faults() []string {
	var list []string
	for _, name := range []string{"bitcoind", "redis", "cordee", "prometheus", "grafana"} {
		if c.Services[name] == nil {
			return []string{name + " is missing"}
		}
	}
	for name, s := range c.Services {
		say := func(format string, args ...any) {
			list = append(list, name+": "+fmt.Sprintf(format, args...))
		}
		s.faults(name, say)
		c.mounts(s, say)
		c.reach(name, s, say)
		for other := range s.DependsOn {
			if c.Services[other] == nil {
				say("depends on %s, which is missing", other)
			}
		}
	}
	slices.Sort(list)
	return list
}

func (s *service) faults(name string, say func(string, ...any)) {
	if !versionTag.MatchString(s.Image) {
		say("image %q has no version tag", s.Image)
	}
	if uid, err := strconv.Atoi(strings.Split(s.User, ":")[0]); err != nil || uid == 0 {
		say("user %q is not a number above 0", s.User)
	}
	if !s.ReadOnly {
		say("its root file system can be written")
	}
	if !slices.Equal(s.CapDrop, []string{"ALL"}) {
		say("it keeps capabilities: cap_drop %v", s.CapDrop)
	}
	if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		say("it may gain privileges")
	}
	if s.PidsLimit <= 0 || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
		say("processes or log are unbounded")
	}
	if name == oneShot {
		if s.Restart != "no" {
			say("restart %q: it ends at once", s.Restart)
		}
		return
	}
	if s.Restart != "unless-stopped" {
		say("restart %q does not bring it back", s.Restart)
	}
	h := s.Healthcheck
	if h == nil || h.Disable || len(h.Test) < 2 || h.Test[0] != "CMD" || h.Interval == "" || h.Timeout == "" || h.Retries == 0 {
		say("no health check that needs no shell")
	}
	grace, err := time.ParseDuration(s.StopGracePeriod)
	if err != nil || grace < 15*time.Second {
		say("stop_grace_period %q is below 15 s", s.StopGracePeriod)
	}
	watch := name == "prometheus" || name == "grafana"
	if watch != slices.Equal(s.Profiles, []string{"watch"}) {
		say("profiles %v", s.Profiles)
	}
	// The pool takes 20 000 rigs, and keeps some files for itself.
	if name == "cordee" && (s.Ulimits.Nofile.Soft < 20_200 || s.Ulimits.Nofile.Hard < s.Ulimits.Nofile.Soft) {
		say("nofile %+v is too low for 20 000 rigs", s.Ulimits.Nofile)
	}
}

// mounts checks that what is mounted is there.
func (c *compose) mounts(s *service, say func(string, ...any)) {
	for _, v := range s.Volumes {
		from, rest, _ := strings.Cut(v, ":")
		if strings.HasPrefix(from, ".") {
			if _, err := os.Stat(filepath.FromSlash(from)); err != nil {
				say("%v", err)
			}
			if !strings.HasSuffix(rest, ":ro") {
				say("%s can be written from inside", from)
			}
			continue
		}
		if _, ok := c.Volumes[from]; !ok {
			say("volume %s is not named below volumes:", from)
		}
	}
}

// reach checks who can connect to a service.
func (c *compose) reach(name string, s *service, say func(string, ...any)) {
	for _, p := range s.Ports {
		switch parts := strings.Split(p, ":"); {
		case len(s.Profiles) > 0:
			if len(parts) != 3 || parts[0] != "127.0.0.1" {
				say("port %s is not on loopback", p)
			}
		case strangers[name] == "" || len(parts) != 2 || parts[1] != strangers[name]:
			say("port %s is published", p)
		}
	}
	if len(s.Ports) == 0 && strangers[name] != "" {
		say("nobody can reach it")
	}
	if (s.NetworkMode == "none") == (len(s.Networks) > 0) || s.NetworkMode != "" && s.NetworkMode != "none" {
		say("network_mode %q with networks %v", s.NetworkMode, s.Networks)
	}
	inside := name == "redis" || name == "prometheus"
	for _, n := range s.Networks {
		network, ok := c.Networks[n]
		if !ok {
			say("network %s is missing", n)
		}
		if inside && !network.Internal {
			say("network %s leads outside", n)
		}
	}
}

func TestCompose(t *testing.T) {
	for _, f := range theCompose(t).faults() {
		t.Error(f)
	}
}

// TestComposeCanFail breaks each law once.
func TestComposeCanFail(t *testing.T) {
	sound := readFile(t, composeFile)
	for _, c := range []struct{ old, with, want string }{
		{"redis:8.2.2-bookworm", "redis:latest", "redis: image"},
		{"redis:8.2.2-bookworm", "redis", "redis: image"},
		{"redis:8.2.2-bookworm", "redis:8", "redis: image"},
		{"bitcoin/bitcoin:29.1", "bitcoin/bitcoin:latest", "bitcoind: image"},
		{`user: "10001:10001"`, `user: "0:0"`, "cordee: user"},
		{`user: "10001:10001"`, `user: root`, "bitcoind: user"},
		{`user: "472:0"`, `user: "0:472"`, "grafana: user"},
		{"read_only: true", "read_only: false", "redis: its root file system"},
		{"cap_drop: [ALL]", "cap_drop: [NET_RAW]", "cordee: it keeps capabilities"},
		{"no-new-privileges:true", "no-new-privileges:false", "cordee: it may gain"},
		{"pids_limit: 512", "pids_limit: -1", "cordee: processes or log"},
		{"max-size: 50m, ", "", "cordee: processes or log"},
		{"restart: unless-stopped", `restart: "no"`, "cordee: restart"},
		{`restart: "no"`, "restart: always", "prepare: restart"},
		{"test: [CMD, redis-cli, -e, ping]", "test: [CMD-SHELL, redis-cli ping]", "redis: no health check"},
		{"test: [CMD, redis-cli, -e, ping]", "disable: true", "redis: no health check"},
		{"stop_grace_period: 20s", "stop_grace_period: 10s", "cordee: stop_grace_period"},
		{"stop_grace_period: 20s", "tmpfs: []", "cordee: stop_grace_period"},
		{`ulimits: { nofile: { soft: 65536, hard: 65536 } } # a file a rig`, "", "cordee: nofile"},
		{"profiles: [watch]\n    image: prom", "image: prom", "prometheus: profiles"},
		{"    image: redis", "    profiles: [watch]\n    image: redis", "redis: profiles"},
		{"stop_grace_period: 30s\n    healthcheck:\n      test: [CMD, redis", "ports: ['6379:6379']\n    stop_grace_period: 30s\n    healthcheck:\n      test: [CMD, redis", "redis: port 6379:6379 is published"},
		{`"${STRATUM_PORT:-3333}:3333"`, `"8080:8080"`, "cordee: port 8080:8080 is published"},
		{`"127.0.0.1:${GRAFANA_PORT:-3000}:3000"`, `"3000:3000"`, "grafana: port 3000:3000 is not on loopback"},
		{"networks: [ledger]", "networks: [ledger, chain]", "redis: network chain leads outside"},
		{"ledger: { internal: true }", "ledger: {}", "redis: network ledger leads outside"},
		{"watch: { internal: true }", "watch: {}", "prometheus: network watch leads outside"},
		{"networks: [chain]", "network_mode: host", "bitcoind: network_mode"},
		{"networks: [chain]", "networks: [nowhere]", "bitcoind: network nowhere is missing"},
		{"./deploy/redis.conf:/etc/redis/redis.conf:ro", "./deploy/redis.conf:/etc/redis/redis.conf", "redis: ./deploy/redis.conf can be written"},
		{"./deploy/redis.conf", "./deploy/nothing.conf", "redis: stat"},
		{"- pool:/var/lib/cordee", "- lake:/var/lib/cordee", "cordee: volume lake"},
		{"  redis:\n    <<", "  valkey:\n    <<", "redis is missing"},
		{"      prometheus: { condition: service_healthy }", "      nobody: { condition: service_healthy }", "grafana: depends on nobody"},
	} {
		if !strings.Contains(sound, c.old) {
			t.Errorf("%q is not in %s", c.old, composeFile)
			continue
		}
		broken, err := readCompose(strings.Replace(sound, c.old, c.with, 1))
		if err != nil {
			t.Errorf("%q: %v", c.with, err)
			continue
		}
		list := broken.faults()
		if !slices.ContainsFunc(list, func(f string) bool { return strings.HasPrefix(f, c.want) }) {
			t.Errorf("%q for %q: %q does not say %q", c.with, c.old, list, c.want)
		}
	}
	for _, key := range []string{"privileged: true", "cap_add: [SYS_ADMIN]", "devices: [/dev/mem]", "pid: host"} {
		if _, err := readCompose(strings.Replace(sound, "read_only: true", "read_only: true\n  "+key, 1)); err == nil {
			t.Errorf("nobody noticed %s in the anchor", key)
		}
		if _, err := readCompose(strings.Replace(sound, "networks: [ledger]", "networks: [ledger]\n    "+key, 1)); err == nil {
			t.Errorf("nobody noticed %s", key)
		}
	}
	if _, err := readCompose(strings.Replace(sound, "${GRAFANA_PORT:-3000}", "${GRAFANA_PORT}", 1)); err == nil {
		t.Error("nobody noticed a variable without default")
	}
}

// TestComposeClient lets Docker's own parser judge, where there is one.
func TestComposeClient(t *testing.T) {
	if exec.Command("docker", "compose", "version").Run() != nil {
		t.Skip("no docker client with compose in PATH: it would parse the file too")
	}
	for _, profile := range []string{"", "watch"} {
		out, err := exec.Command("docker", "compose", "--profile", profile, "-f", composeFile, "config", "-q").CombinedOutput()
		if err != nil {
			t.Errorf("profile %q: %v\n%s", profile, err, out)
		}
	}
}

// decodeAll decodes every YAML document of a file into one value.
func decodeAll(t *testing.T, name string, into any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader([]byte(readFile(t, name))))
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		t.Errorf("%s holds more than one document: %v", name, err)
	}
}

// flags splits -name=value arguments.
func flags(args []string) map[string][]string {
	m := map[string][]string{}
	for _, a := range args {
		name, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		m[name] = append(m[name], value)
	}
	return m
}
