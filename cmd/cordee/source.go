package main

import (
	"slices"
	"strings"

	"cordee/internal/keeper"
	"cordee/internal/web"
)

// process is the pages' Source: it copies what the rooms say of themselves.
var _ web.Source = (*process)(nil)

// Status implements web.Source.
func (p *process) Status() web.Status {
	e, st, j := p.edge.Status(), p.edge.Server().Stats(), p.journal.Stats()
	s := web.Status{
		Network: p.cfg.Network.Name, Version: version, Epoch: e.Epoch, Started: e.Started,
		Height: e.Height, PrevHash: e.PrevHash, Node: e.Node, TemplateAge: e.TemplateAge,
		Value: e.Value, Txs: e.Txs, NoJob: e.NoJob, Difficulty: e.Difficulty,
		Connections: st.Connections, Working: st.Working, Hashrate: st.Hashrate, Credited: e.Credited, Lost: e.Lost,
		Shares: st.Shares, Blocks: map[string]uint64{},
		Canary:      web.Canary(e.Canary),
		FirstNotify: web.LatencyOf(st.NotifyFirst), LastNotify: web.LatencyOf(st.NotifyLast),
		Journal: web.Journal{
			LastSeq: j.Seq, Records: j.Records, Commits: j.Commits, Bytes: int64(j.Bytes),
			FreeBytes: j.FreeBytes, Poisoned: j.Poisoned != nil,
		},
	}
	if j.Commits > 0 {
		s.Journal.CommitMS = j.SyncSum.Seconds() * 1000 / float64(j.Commits)
	}
	for state, n := range e.Blocks {
		s.Blocks[state] = uint64(n)
	}
	p.accountsInto(&s)
	for _, n := range p.nodes.Status() {
		s.Nodes = append(s.Nodes, web.Node{
			Name: n.Name, State: n.State, Followed: n.Followed, Healthy: n.Healthy, Height: n.Tip.Height,
			Peers: n.Peers, Signal: n.Signal, Version: n.Version, Error: n.LastError, Age: n.TemplateAge.Seconds(),
		})
	}
	for _, l := range p.cfg.Listeners {
		s.Listeners = append(s.Listeners, l.Address)
	}
	s.Certificates = p.doors.certificates()
	return s
}

// Rigs implements web.Source.
func (p *process) Rigs(member string) web.Rigs {
	out := web.Rigs{Rigs: []web.Rig{}}
	for _, r := range p.edge.Server().Rigs() {
		if id, _, _ := strings.Cut(r.Name, "."); member != "" && id != member {
			continue
		}
		difficulty := ""
		if r.Difficulty > 0 {
			difficulty = r.Difficulty.Text(p.cfg.Network.Scale)
		}
		out.Rigs = append(out.Rigs, web.Rig{
			Name: r.Name, Agent: r.Agent, Class: r.Class, ClassFrom: r.ClassFrom, Remote: r.Remote, Hashrate: r.Hashrate,
			Difficulty: difficulty, Accepted: r.Accepted, Rejects: r.Rejected,
			LastShare: r.LastShare, Since: r.Connected,
		})
	}
	return out
}

// Closes implements web.Source.
func (p *process) Closes() web.Closes {
	out := web.Closes{Closes: []web.Close{}}
	for _, c := range p.edge.Server().Closes() {
		out.Closes = append(out.Closes, web.Close{
			At: c.Time, Reason: c.Reason.String(), Remote: c.Remote, Name: c.Name, Agent: c.Agent,
			Age: c.Duration.Seconds(), Shares: c.Shares, Refused: c.Refused, Times: c.Times,
		})
	}
	return out
}

// figures is one copy of everything for /metrics.
func (p *process) figures() web.Figures {
	e, v := p.edge.Status(), readVersion()
	var accounts web.Status
	p.accountsInto(&accounts)
	return web.Figures{
		Store: accounts.Store, Halts: len(accounts.Halts), Certificates: p.doors.certificates(),
		Version: v.Version, Commit: v.Commit, Network: p.cfg.Network.Name,
		Stratum: p.edge.Server().Stats(), Journal: p.journal.Stats(), Nodes: p.nodes.Status(),
		Height: e.Height, TemplateAge: e.TemplateAge, Credited: e.Credited, Lost: e.Lost,
		Blocks: e.Blocks, Proposals: [2]uint64{e.Canary.Proven, e.Canary.Refused},
	}
}

// Accounts implements web.Source.
func (p *process) Accounts() web.Accounts {
	s := p.keeper.Status()
	out := web.Accounts{
		Slot: s.Slot, Store: s.Ship, Treasury: s.Treasury, Halts: append([]string{}, s.Halts...),
		Members: []web.Account{},
	}
	out.Trouble = troubles(&s)
	unripe := unripeOf(s.Blocks)
	for _, m := range s.Members {
		a := accountOf(&m, unripe[m.Member])
		if m.Member != 0 || a.Expected != 0 || a.Maturing != 0 || a.Carried != 0 { // parked work, where there is any
			out.Members = append(out.Members, a)
		}
	}
	return out
}

// troubles lists what the keeper has trouble with, sorted.
func troubles(s *keeper.Status) []string {
	out := []string{}
	for name, why := range s.Trouble {
		out = append(out, name+": "+why)
	}
	slices.Sort(out)
	return out
}

// accountsInto copies what the keeper says of store, halts and troubles.
func (p *process) accountsInto(s *web.Status) {
	k := p.keeper.Status()
	kind := "redis"
	if p.store.volatile {
		kind = "memory"
	}
	s.Store = web.Store{
		Kind: kind, State: k.Ship, Since: k.ShipSince, Why: k.ShipWhy, Slot: k.Slot, StoreSlot: k.StoreSlot,
		Events: k.Events, StoreEvents: k.StoreEvents, Problems: append([]string{}, k.StoreProblems...),
	}
	s.Class = k.Class
	s.Halts, s.Trouble = haltsOf(p.keeper.HaltLog()).Halts, troubles(&k)
}
