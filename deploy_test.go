package cordee_test

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cordee/internal/bitcoind"
	"cordee/internal/config"
	"cordee/internal/doctor"
	"cordee/internal/register"
	"cordee/internal/sandbox"
	"cordee/internal/web"
	"cordee/pool"
)

// composed is the pool's configuration as its container reads it.
func composed(t *testing.T) *config.Config {
	t.Helper()
	c, err := config.Parse("/etc/cordee/cordee.toml", []byte(readFile(t, "deploy/cordee/cordee.toml")))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mounted returns the source of what a service has at a path.
func (s *service) mounted(path string) string {
	for _, v := range s.Volumes {
		if parts := strings.Split(v, ":"); parts[1] == path {
			return parts[0]
		}
	}
	return ""
}

// The pool's file, the node's arguments and the mounts speak of one thing.
func TestComposeFits(t *testing.T) {
	c, cfg := theCompose(t), composed(t)
	cordee, node := c.Services["cordee"], c.Services["bitcoind"]
	args := flags(node.Command)
	one := func(name string) string {
		if len(args[name]) != 1 {
			t.Errorf("-%s stands %d times", name, len(args[name]))
			return ""
		}
		return args[name][0]
	}
	equal := func(what, got, want string) {
		t.Helper()
		if got != want || got == "" {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	n := cfg.Nodes[0]
	equal("chain", one("chain"), cfg.Network.Name)
	equal("network", cfg.Network.Name, "regtest")
	equal("url", n.URL, "http://bitcoind:"+one("rpcport"))
	equal("cookie", n.Cookie, one("rpccookiefile"))
	equal("zmq", n.ZMQ, strings.Replace(one("zmqpubhashblock"), "0.0.0.0", "bitcoind", 1))
	equal("cookie's volume", cordee.mounted(filepath.Dir(n.Cookie)), node.mounted(filepath.Dir(n.Cookie)))
	equal("node's volume", node.mounted(one("datadir")), "node")
	equal("pool's volume", cordee.mounted(cfg.DataDir), "pool")
	equal("configuration", cordee.mounted(filepath.Dir(cfg.Path)), "./deploy/cordee")
	if !slices.ContainsFunc(cordee.Networks, func(n string) bool { return slices.Contains(node.Networks, n) }) {
		t.Error("pool and node share no network")
	}
	if !strings.Contains(readFile(t, composeFile), "image: ${BITCOIND_IMAGE:-") {
		t.Error("BITCOIND_IMAGE chooses no node")
	}
	// One owner for what containers share.
	equal("user", node.User, cordee.User)
	equal("user", node.User, c.Services[oneShot].User)

	// The port that is published is the one that rigs find, and not the pages'.
	_, port, err := net.SplitHostPort(cfg.Listeners[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	equal("listener", port, strangers["cordee"])
	members, err := register.Parse(cfg.MembersPath, []byte(readFile(t, "deploy/cordee/members.toml")), cfg.Network)
	if err != nil || len(members.Members) == 0 {
		t.Errorf("members: %v", err)
	}
	equal("members' folder", filepath.Dir(cfg.MembersPath), filepath.Dir(cfg.Path))

	// What the node keeps free is the formula of the comment above it, for the
	// class of 6500 bytes: larger ones are cut to it on a full block.
	reserved, err := strconv.ParseInt(one("blockreservedweight"), 10, 64)
	if err != nil || reserved != doctor.NeededWeight(pool.LargeClass.MaxCoinbase) || reserved < doctor.NeededWeight(pool.DefaultClass.MaxCoinbase) {
		t.Errorf("-blockreservedweight=%d, %v", reserved, err)
	}
}

func TestRedisConf(t *testing.T) {
	s := theCompose(t).Services["redis"]
	if s.mounted(s.Command[0]) != "./deploy/redis.conf" {
		t.Errorf("redis reads %v, mounted is %v", s.Command, s.Volumes)
	}
	keys := map[string]string{}
	for line := range strings.Lines(readFile(t, "deploy/redis.conf")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key != "#" {
			keys[key] = value
		}
	}
	for key, want := range map[string][]string{
		"appendonly":                  {"yes"},
		"appendfsync":                 {"everysec", "always"},
		"maxmemory-policy":            {"noeviction"},
		"stop-writes-on-bgsave-error": {"yes"},
	} {
		if !slices.Contains(want, keys[key]) {
			t.Errorf("%s %q, want one of %q", key, keys[key], want)
		}
	}
	if s.mounted(keys["dir"]) != "redis" {
		t.Errorf("dir %q is no volume: a new container would begin empty", keys["dir"])
	}
}

func TestWatch(t *testing.T) {
	c, cfg := theCompose(t), composed(t)
	var prom struct {
		Rules  []string `yaml:"rule_files"`
		Scrape []struct {
			Job    string `yaml:"job_name"`
			Static []struct {
				Targets []string
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decodeAll(t, "deploy/prometheus.yml", &prom)
	_, port, err := net.SplitHostPort(cfg.Web.Address)
	if err != nil || len(prom.Scrape) != 1 || len(prom.Scrape[0].Static) != 1 ||
		!slices.Equal(prom.Scrape[0].Static[0].Targets, []string{"cordee:" + port}) {
		t.Errorf("%+v, the pool's pages are on %s", prom, cfg.Web.Address)
	}
	if !slices.Equal(prom.Rules, []string{filepath.Base(alertsFile)}) || c.Services["prometheus"].mounted("/etc/prometheus/"+prom.Rules[0]) != "./"+alertsFile {
		t.Errorf("prometheus has no rules: %v", prom.Rules)
	}
	for _, name := range []string{"prometheus", "cordee", "grafana"} {
		if !slices.Contains(c.Services[name].Networks, "watch") {
			t.Errorf("%s is not on the network watch", name)
		}
	}
	var sources struct {
		Datasources []struct{ UID, Type, URL string }
	}
	decodeAll(t, "deploy/grafana/provisioning/datasources/prometheus.yml", &sources)
	if len(sources.Datasources) != 1 {
		t.Fatalf("%+v", sources)
	}
	u, err := url.Parse(sources.Datasources[0].URL)
	if err != nil || c.Services[u.Hostname()] == nil || sources.Datasources[0].UID != "prometheus" {
		t.Errorf("%+v: %v", sources, err)
	}
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	decodeAll(t, "deploy/grafana/provisioning/dashboards/cordee.yml", &providers)
	if len(providers.Providers) != 1 || c.Services["grafana"].mounted(providers.Providers[0].Options.Path) != "./deploy/grafana/dashboards" {
		t.Errorf("%+v", providers)
	}
}

var (
	descName   = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	promName   = regexp.MustCompile(`\b((?:cordee|go|process)_\w+)(?:\{(\w+)[!=~]+"[^"]*"\})?`)
	byLabels   = regexp.MustCompile(`\bby \(([\w, ]+)\)`)
	histograms = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// exported is what /metrics can hold: the labels of each family.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	registry := web.Registry(func() web.Figures { return web.Figures{} })
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry.Describe(descs)
	}()
	labels := map[string][]string{}
	for d := range descs {
		m := descName.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read %s", d)
		}
		labels[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
	}
	// The Go collector describes only what Gather then names.
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if _, ok := labels[f.GetName()]; !ok {
			labels[f.GetName()] = nil
		}
	}
	return labels
}

// unknown says what a query asks for that no pool exports.
func unknown(families map[string][]string, query string) []string {
	var list []string
	known := []string{"le"}
	for _, m := range promName.FindAllStringSubmatch(query, -1) {
		name := m[1]
		if _, ok := families[name]; !ok {
			name = histograms.ReplaceAllString(name, "")
		}
		labels, ok := families[name]
		if !ok {
			list = append(list, m[1])
		}
		if m[2] != "" && !slices.Contains(labels, m[2]) {
			list = append(list, m[1]+"{"+m[2]+"}")
		}
		known = append(known, labels...)
	}
	if len(known) == 1 && !strings.Contains(query, "_") {
		list = append(list, "no metric in "+query)
	}
	for _, m := range byLabels.FindAllStringSubmatch(query, -1) {
		for label := range strings.SplitSeq(m[1], ", ") {
			if !slices.Contains(known, label) {
				list = append(list, "by "+label)
			}
		}
	}
	return list
}

func TestDashboard(t *testing.T) {
	files, err := filepath.Glob("deploy/grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	families := exported(t)
	queries := 0
	for _, file := range files {
		var board struct {
			UID, Title string
			Panels     []struct {
				ID         int
				Type       string
				Title      string
				Datasource struct{ UID string }
				Targets    []struct{ Expr string }
			}
		}
		if err := json.Unmarshal([]byte(readFile(t, file)), &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		ids := map[int]bool{}
		for _, p := range board.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels have number %d", file, p.ID)
			}
			ids[p.ID] = true
			if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "prometheus") {
				t.Errorf("%s: %q shows nothing", file, p.Title)
			}
			for _, q := range p.Targets {
				queries++
				for _, u := range unknown(families, q.Expr) {
					t.Errorf("%s: %q: %s: no pool exports %s", file, p.Title, q.Expr, u)
				}
			}
		}
		if board.UID == "" || board.Title == "" || len(board.Panels) == 0 {
			t.Errorf("%s is no dashboard", file)
		}
	}
	if queries < 20 {
		t.Errorf("%d queries", queries)
	}
	for query, want := range map[string]string{
		"rate(cordee_share_total[5m])":                       "cordee_share_total",
		`cordee_shares_total{reason="stale"}`:                "cordee_shares_total{reason}",
		"sum by (member) (rate(cordee_shares_total[5m]))":    "by member",
		"rate(cordee_journal_fsyncs_seconds_bucket[5m])":     "cordee_journal_fsyncs_seconds_bucket",
		"cordee_journal_poisoned + go_goroutines_of_nothing": "go_goroutines_of_nothing",
	} {
		if got := unknown(families, query); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

const alertsFile = "deploy/alerts.yml"

// Every alert asks for what a pool exports, and says what is wrong.
func TestAlerts(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decodeAll(t, alertsFile, &file)
	families := exported(t)
	exprs := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if exprs[r.Alert] != "" || g.Name == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("alert %q: twice, or without a severity or a summary", r.Alert)
			}
			exprs[r.Alert] = r.Expr
			if r.Alert == "PoolDown" {
				continue // up is Prometheus's own
			}
			for _, u := range unknown(families, r.Expr) {
				t.Errorf("%s: %s: no pool exports %s", r.Alert, r.Expr, u)
			}
			for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
				if name := promName.FindStringSubmatch(r.Expr); name == nil || !slices.Contains(families[name[1]], m[1]) {
					t.Errorf("%s: %s has no label %s", r.Alert, r.Expr, m[1])
				}
			}
		}
	}
	if got := exprs["CertificateEnds"]; got != "cordee_tls_certificate_expiry_seconds < 10 * 86400" {
		t.Errorf("a certificate is told of when %q", got)
	}
	if len(exprs) < 6 {
		t.Errorf("%d alerts", len(exprs))
	}
}

func TestDockerfile(t *testing.T) {
	text := strings.ReplaceAll(readFile(t, "Dockerfile"), "\\\n", " ")
	goMod, program := readFile(t, "go.mod"), readFile(t, "cmd/cordee/version.go")
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(goMod)
	release := regexp.MustCompile(`version = "([\d.]+)"`).FindStringSubmatch(program)
	if goVersion == nil || release == nil {
		t.Fatal("no version in go.mod or version.go")
	}
	for _, want := range []string{
		`(?m)^FROM --platform=\$BUILDPLATFORM golang:` + regexp.QuoteMeta(goVersion[1]) + `\.\d+ AS build$`,
		`(?m)^FROM scratch$`,
		`CGO_ENABLED=0 .*-trimpath`,
		`(?m)^USER 10001:10001$`,
		`(?m)^ARG VERSION=` + regexp.QuoteMeta(release[1]) + `$`,
		`org\.opencontainers\.image\.version="\$VERSION"`,
		`(?m)^HEALTHCHECK .*CMD \["/usr/local/bin/cordee", "status"`,
		`(?m)^ENTRYPOINT \["/usr/local/bin/cordee"\]$`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the Dockerfile has no %s", want)
		}
	}
	if n := strings.Count(text, "\nFROM "); n != 2 {
		t.Errorf("%d stages", n)
	}
	if image := theCompose(t).Services["cordee"].Image; image != "cordee:"+release[1] {
		t.Errorf("compose builds %s, the release is %s", image, release[1])
	}
	// Folders whose owner a new volume takes: one for each that prepare has.
	for _, v := range theCompose(t).Services[oneShot].Volumes {
		if _, path, _ := strings.Cut(v, ":"); !strings.Contains(text, strings.TrimPrefix(path, "/")) {
			t.Errorf("the image has no folder %s", path)
		}
	}
}

// TestComposeNode starts the node that CORDEE_BITCOIND names with the arguments
// of the compose file, only elsewhere, and finds in it what was asked for.
func TestComposeNode(t *testing.T) {
	program := os.Getenv("CORDEE_BITCOIND")
	if program == "" {
		t.Skip("CORDEE_BITCOIND is not set: it may name a Bitcoin Core to test against")
	}
	addresses, err := sandbox.FreeAddresses(3)
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, a := range addresses {
		ports = append(ports, strings.TrimPrefix(a, "127.0.0.1:"))
	}
	dir := t.TempDir()
	elsewhere := strings.NewReplacer("/var/lib/bitcoind", dir, "/run/bitcoind", dir,
		"rpcport=8332", "rpcport="+ports[0], "28332", ports[1], "//0.0.0.0", "//127.0.0.1", "=0.0.0.0", "=127.0.0.1")
	args := []string{"-bind=127.0.0.1:" + ports[2], "-dnsseed=0", "-fixedseeds=0", "-dbcache=16", "-par=1"}
	for _, a := range theCompose(t).Services["bitcoind"].Command {
		args = append(args, elsewhere.Replace(a))
	}
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its data goes with the directory
		_ = cmd.Wait()
	})
	cfg := composed(t)
	var x bitcoind.Examination
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 300 {
		found, err := bitcoind.Examine(t.Context(), bitcoind.Config{Network: cfg.Network, Nodes: []bitcoind.NodeConfig{{
			Name: "core", URL: "http://127.0.0.1:" + ports[0], Cookie: filepath.Join(dir, "cookie"),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if x = found[0]; x.Err == nil {
			break
		}
		<-tick.C
	}
	if want := doctor.NeededWeight(6500); x.Err != nil || x.TemplateErr != nil || x.Reserved != want {
		t.Errorf("%+v, want %d reserved", x, want)
	}
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+ports[1], time.Second)
	if err != nil {
		t.Fatalf("ZMQ: %v", err)
	}
	_ = conn.Close()
}
