package stratum

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordee/internal/register"
	"cordee/pool"
)

// addressPool has the register of open mode at its door, and keeps whoever has a
// share accepted, as the edge does.
type addressPool struct {
	*hub
	register *register.Open
}

func (p *addressPool) Authorize(user string) (pool.Worker, string, bool) {
	return p.register.Resolve(user)
}

func (p *addressPool) Leave(w pool.Worker) { p.register.Leave(w.Member) }

func (p *addressPool) Post(b *pool.Batch, _ Ruled) bool {
	p.Submit(b)
	return false
}

func (p *addressPool) Submit(b *pool.Batch) {
	p.hub.Submit(b)
	for i, v := range b.Verdicts {
		if v.Reject != pool.Accepted {
			continue
		}
		if err := p.register.Keep(b.Subs[i].Work.Member); err != nil {
			b.Verdicts[i] = pool.Verdict{Reject: pool.NotDurable}
		}
	}
}

// openMode is an item's test on a pool of addresses, whose file is empty.
func openMode(body func(f *field, o *register.Open)) func(*testing.T) {
	return func(t *testing.T) {
		o, err := register.OpenAddresses(filepath.Join(t.TempDir(), "addresses"), regtest(t))
		if err != nil {
			t.Fatal(err)
		}
		inField(t, func(c *Config) { c.Pool = &addressPool{newHub(c.Network), o} }, func(f *field) { body(f, o) })
	}
}

const (
	segwit  = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
	legacy  = "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r"
	p2sh    = "2MsFDzHRUAMpjHxKyoEHU3aMCMsVtMqs1PV"
	taproot = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"
)

var authorizeItems = []item{
	{21, "a user alone, and with an empty, any, or null password", plainField(func(f *field) {
		for _, params := range [][]any{{"alpha.north.r1"}, {"alpha.north.r1", ""}, {"alpha.north.r1", "x"}, {"alpha.north.r1", nil}, {"alpha.north.r1", 123}, {"alpha.north.r1", "x", "more", 7}} {
			f.want(fmt.Sprint(params), f.connect().say(request(1, "mining.authorize", params...)), "1=true")
		}
		f.want("none", f.connect().say(request(1, "mining.authorize")), "1!24")
	})},
	{22, "addresses of the network in every spelling; another network's gets 24", openMode(func(f *field, o *register.Open) {
		members := map[string]uint16{}
		for _, user := range []string{
			segwit, segwit + ".w", segwit + ".site.w", strings.ToUpper(segwit), strings.ToUpper(segwit) + ".W", legacy, legacy + ".w", taproot + ".w",
			segwit + "%2ew", strings.ToUpper(taproot), segwit + "_w", segwit + ".", p2sh, " " + segwit,
		} {
			c := f.connect()
			f.want(user, c.say(request(1, "mining.authorize", user, "x")), "1=true")
			address, _, _ := strings.Cut(c.sess.names[0].worker.Name, ".")
			if m, known := members[address]; known && m != c.sess.member {
				f.Errorf("%s is member %d, another spelling of it %d", user, c.sess.member, m)
			}
			members[address] = c.sess.member
		}
		if len(members) != 4 || len(o.Members()) != 0 {
			f.Errorf("members %v, kept %v", members, o.Members())
		}
		for _, user := range []string{
			"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.w", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
			strings.Replace(segwit, "w508", "W508", 1), segwit[:len(segwit)-1] + "q", "", ".w", "acct.w",
		} {
			f.want(user, f.connect().say(request(1, "mining.authorize", user, "x")), "1!24")
		}
		heard := f.connect().say(request(1, "mining.authorize", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.w"))
		mustHave(f, heard.at(0).Error, "this pool is on regtest, that address is of main")
	})},
	{23, "a name of 128 characters is accepted, a longer one gets 24", openMode(func(f *field, o *register.Open) {
		c := f.connect()
		for _, n := range []int{129, 191, 3500} {
			f.want("long", f.connect().say(request(1, "mining.authorize", segwit+"."+strings.Repeat("w", n-len(segwit)-1))), "1!24")
		}
		name := segwit + "." + strings.Repeat("w", 128-len(segwit)-1)
		c.say(saySubscribe)
		heard := c.say(request(1, "mining.authorize", name))
		if heard.at(0).Result != "true" {
			f.Errorf("%v", heard)
		}
		is := c.job()
		sub := mine(f, c.sess, target{issue: is}, aShare, is.work.Template.CurTime, 0, 0)
		f.want("its share", c.say(submission(2, name, keyID(is.key), sub)), "2=true")
		if got := f.srv.Rigs()[0].Name; len(got) != 128 {
			f.Errorf("listed as %q", got)
		}
		if kept := o.Members(); len(kept) != 1 || kept[0].ID != segwit {
			f.Errorf("kept: %+v", kept)
		}
	})},
	{24, "nothing is pushed between the subscribe reply and the authorize reply", plainField(func(f *field) {
		c := f.connect()
		f.want("subscribe", c.say(sayConfigure+saySubscribe).from(2))
		for i := range uint32(5) {
			time.Sleep(5 * time.Second)
			f.publish(uint64(2+i/2), 2+i)
			f.want("waiting", c.hear())
		}
		f.want("a suggestion", c.say(suggestion(7, 1e-8)), "7=true")
		f.want("a refused name", c.say(request(8, "mining.authorize", "nobody.x.y")), "8!24")
		f.publish(9, 9)
		f.want("waiting", c.hear())
		f.want("authorize", c.say(sayAuthorize), "3=true", "mining.set_version_mask", "mining.set_difficulty", "mining.notify")
	})},
	{25, "authorize before subscribe works", plainField(func(f *field) {
		c := f.connect()
		f.want("authorize", c.say(sayAuthorize), "3=true")
		f.publish(1, 2)
		f.want("waiting", c.hear())
		heard := c.say(saySubscribe)
		f.want("subscribe", heard.from(1), "mining.set_difficulty", "mining.notify")
		f.want("a share", c.say(c.share(9, target{issue: c.job()}, aShare, 0)), "9=true")
	})},
	{26, "several names of one member may submit; another member's gets 24 with a text", plainField(func(f *field) {
		c := f.rig()
		names := []string{"alpha.north.r1"}
		for i := 2; i <= 127; i++ { // a farm proxy
			names = append(names, fmt.Sprintf("alpha.north.r%d", i))
			f.want(names[i-1], c.say(request(i, "mining.authorize", names[i-1], "x")), fmt.Sprintf("%d=true", i))
		}
		is := c.job()
		nonce := uint32(0)
		for _, name := range []string{names[0], names[1], names[126]} {
			sub := mine(f, c.sess, target{issue: is}, aShare, is.work.Template.CurTime, 0, nonce)
			nonce = sub.Nonce + 1
			f.want(name, c.say(submission(9, name, keyID(is.key), sub)), "9=true")
		}
		heard := c.say(request(500, "mining.authorize", "beta.south.r1", "x"))
		f.want("another member", heard, "500!24")
		mustHave(f, heard.at(0).Error, "member")
		f.want("its share", c.say(submission(9, "beta.south.r1", keyID(is.key), pool.Submission{Extranonce2Size: 8})), "9!24")
		f.want("name 128", c.say(request(501, "mining.authorize", "alpha.north.z", "x")), "501=true")
		f.want("name 129", c.say(request(502, "mining.authorize", "alpha.north.y", "x")), "502!24")
	})},
	{27, "passwords are parsed or ignored, and clamped", plainField(func(f *field) {
		const start = 16
		junk := strings.Repeat("d=;,=  x\x00=1e999 md==th ", 50)
		for password, want := range map[string]pool.Difficulty{
			"x": start, "": start, "d=abc": start, "d=0": start, "d=-5": start, "d=NaN,x": start, "d=inf": start, "=;,": start, junk: start,
			fmt.Sprintf("d=%g,x", units(5000)):         4096,
			fmt.Sprintf("x;diff=%g", units(70)):        64,
			fmt.Sprintf("x sd=%g z=1", units(300)):     256,
			fmt.Sprintf("x;md=%g", units(64)):          64,
			fmt.Sprintf("md=%g,d=%g", units(65), 1e-9): 128, // the power of two at or above what was asked
			"d=1e-30":       1,
			"d=1e30":        1 << 40, // the network's
			"th=0.00000001": 1 << 15, // 10 kH/s at 10 a minute: 60 000 hashes
			"th=1e30":       1 << 40, "th=1e300": start, "th=x": start, "th=-1": start,
			fmt.Sprintf("th=1,d=%g", units(32)): 32,
		} {
			_, heard := f.sign("test/1", password)
			f.want(password, heard, "mining.set_difficulty", "mining.notify")
			if got := heard.at(0).text(0); got != want.Text(pool.RegtestScale) {
				f.Errorf("password %.40q: difficulty %s, want %s", password, got, want.Text(pool.RegtestScale))
			}
		}
	})},
	{28, "after authorize [mask], set_difficulty, notify(clean) arrive in that order, in under 1 s", plainField(func(f *field) {
		start := time.Now()
		for _, configure := range []string{"", sayConfigure} {
			c := f.connect()
			before := len(c.write(configure + saySubscribe + "\n"))
			c.tw.recv()
			c.tw.send(sayAuthorize)
			heard := c.hear()
			want := []string{"3=true", "mining.set_version_mask", "mining.set_difficulty", "mining.notify"}
			if configure == "" {
				want = append(want[:1], want[2:]...)
			}
			f.want(fmt.Sprintf("after %d answers", before), heard, want...)
			if last := heard.last(); last.text(8) != "true" {
				f.Errorf("not clean: %s", last)
			}
		}
		f.within("the first work", start, time.Second)
	})},
}
