package register

import (
	"math"

	"cordee/internal/tomlfile"
	"cordee/pool"
)

// Limits of a member's entry.
const (
	maxDestinations = 8        // each is an output of every payout
	maxNameLen      = 80       // bytes of a display name
	allBP           = 10_000   // basis points in the whole
	parkedID        = "parked" // work of index 0 goes by this name
)

// Member is one member of the consortium. Its slices belong to the register:
// read them only.
type Member struct {
	ID           string // [a-z0-9-], at most pool.MaxMemberID bytes; first part of its rigs' names
	Index        uint16 // 1 to 65535, for ever
	Name         string // for people; ID by default
	Note         string // for the operator
	Destinations []Destination
	Sites        []Site // none for a retired member
}

// Destination is where a part of a member's pay goes.
type Destination struct {
	Address string
	Script  []byte // output script of Address
	BP      int    // basis points; a member's sum to 10000
}

// Site is a place where a member's rigs stand.
type Site struct {
	ID   string // [a-z0-9-], at most pool.MaxSiteID bytes
	Note string // for the operator
}

// File is a checked members.toml. It is immutable.
type File struct {
	Path    string
	Network *pool.Network
	// Park says what becomes of a rig whose member or site is unknown: it
	// mines as parked work instead of being refused.
	Park    bool
	Members []Member // in the order of the file

	at    *tomlfile.File
	sites map[string]map[string]struct{} // member id -> site ids
	byID  map[string]int                 // member id -> position in Members
}

type rawFile struct {
	Unknown string      `toml:"unknown"`
	Members []rawMember `toml:"member"`
}

type rawMember struct {
	ID           string           `toml:"id,required"`
	Index        int64            `toml:"index,required"`
	Name         string           `toml:"name"`
	Note         string           `toml:"note"`
	Destinations []rawDestination `toml:"destinations,required"`
	Sites        []rawSite        `toml:"site"`
}

type rawDestination struct {
	Address string `toml:"address,required"`
	BP      int64  `toml:"bp,required"`
}

type rawSite struct {
	ID   string `toml:"id,required"`
	Note string `toml:"note"`
}

// hints answer keys that people are known to try.
var hints = map[string]string{
	"address":     "write destinations = [ { address = \"...\", bp = 10000 } ]",
	"destination": "write destinations = [ { address = \"...\", bp = 10000 } ]",
	"sites":       "write each site as [[member.site]] with an id, below its member",
	"percent":     "shares are basis points: bp = 10000 is the whole",
	"rigs":        "rigs are not listed: any rig name is taken",
}

// Load reads and checks the members.toml at path, whose addresses must be of
// network. An error of the file's content is a *tomlfile.Error and lists all
// problems, one per line.
func Load(path string, network *pool.Network) (*File, error) {
	raw := rawFile{Unknown: "refuse"}
	at, err := tomlfile.Read(path, &raw, hints)
	if err != nil {
		return nil, err
	}
	return build(at, &raw, network)
}

// Parse is Load for data that stands, or would stand, at path.
func Parse(path string, data []byte, network *pool.Network) (*File, error) {
	raw := rawFile{Unknown: "refuse"}
	return build(tomlfile.Parse(path, data, &raw, hints), &raw, network)
}

func build(at *tomlfile.File, raw *rawFile, network *pool.Network) (*File, error) {
	f := &File{
		Path: at.Name, Network: network, Park: raw.Unknown == "park", at: at,
		sites: map[string]map[string]struct{}{}, byID: map[string]int{},
	}
	if at.Broken() {
		return nil, at.Err()
	}
	if raw.Unknown != "refuse" && raw.Unknown != "park" {
		at.Errorf("unknown", "%q: write \"refuse\" or \"park\", for rigs whose member or site is not in this file", raw.Unknown)
	}
	indexes := map[int64]int{}
	for i := range raw.Members {
		f.Members = append(f.Members, f.member(i, &raw.Members[i], indexes))
	}
	if err := at.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) member(i int, r *rawMember, indexes map[int64]int) Member {
	path := tomlfile.Index("member", i)
	at := f.at
	m := Member{ID: r.ID, Index: uint16(r.Index), Name: r.Name, Note: r.Note}
	if at.Has(path + ".id") {
		f.id(path+".id", r.ID, pool.MaxMemberID)
		if j, ok := f.byID[r.ID]; ok {
			other := tomlfile.Index("member", j)
			at.Errorf(path+".id", "%q is already the id of %s (line %d)", r.ID, other, at.Line(other+".id"))
		} else {
			f.byID[r.ID] = i
		}
		if r.ID == parkedID {
			at.Errorf(path+".id", "%q stands for work that no member has claimed, no member can be called that", r.ID)
		}
	}
	if at.Has(path+".index") && !at.Failed(path+".index") {
		if r.Index < 1 || r.Index > math.MaxUint16 {
			at.Errorf(path+".index", "%d is not within 1 to %d", r.Index, math.MaxUint16)
		} else if j, ok := indexes[r.Index]; ok {
			other := tomlfile.Index("member", j)
			at.Errorf(path+".index", "%d is already the index of %s (line %d)", r.Index, other, at.Line(other+".index"))
		} else {
			indexes[r.Index] = i
		}
	}
	if m.Name == "" {
		m.Name = m.ID
	}
	if len(m.Name) > maxNameLen {
		at.Errorf(path+".name", "has %d bytes: at most %d", len(m.Name), maxNameLen)
	}
	m.Destinations = f.destinations(path, r.Destinations)
	m.Sites = f.memberSites(path, r)
	return m
}

func (f *File) id(path, id string, limit int) {
	if !f.at.Failed(path) && !pool.ValidID(id, limit) {
		f.at.Errorf(path, "%q must be 1 to %d of a-z 0-9 -", id, limit)
	}
}

func (f *File) destinations(path string, raws []rawDestination) []Destination {
	at, all := f.at, path+".destinations"
	if at.Failed(all) || !at.Has(all) {
		return nil
	}
	if len(raws) == 0 {
		at.Errorf(all, "is empty: the member has nowhere to be paid to")
	}
	if len(raws) > maxDestinations {
		at.Errorf(all, "has %d entries: at most %d, since each is an output of the payout", len(raws), maxDestinations)
	}
	var out []Destination
	sum, wrong, seen := int64(0), false, map[string]int{}
	for i, r := range raws {
		leg := tomlfile.Index(all, i)
		d := Destination{Address: r.Address, BP: int(r.BP)}
		if at.Has(leg+".address") && !at.Failed(leg+".address") {
			script, err := f.Network.Script(r.Address)
			if err != nil {
				at.Errorf(leg+".address", "%v", err)
			} else if j, ok := seen[string(script)]; ok {
				at.Errorf(leg+".address", "%q is already a destination of this member (line %d)", r.Address, at.Line(tomlfile.Index(all, j)+".address"))
			} else {
				seen[string(script)] = i
			}
			d.Script = script
		}
		if at.Has(leg+".bp") && !at.Failed(leg+".bp") && (r.BP < 1 || r.BP > allBP) {
			at.Errorf(leg+".bp", "%d is not within 1 to %d basis points", r.BP, allBP)
		}
		wrong = wrong || at.Failed(leg+".bp") || at.Failed(leg)
		sum += r.BP
		out = append(out, d)
	}
	if sum != allBP && !wrong && len(raws) > 0 {
		at.Errorf(all, "sum to %d basis points: must be %d, the whole", sum, allBP)
	}
	return out
}

func (f *File) memberSites(path string, r *rawMember) []Site {
	ids, lines := map[string]struct{}{}, map[string]int{}
	var out []Site
	for i, s := range r.Sites {
		site := tomlfile.Index(path+".site", i)
		if f.at.Has(site + ".id") {
			f.id(site+".id", s.ID, pool.MaxSiteID)
			if _, ok := ids[s.ID]; ok {
				f.at.Errorf(site+".id", "%q is already a site of this member (line %d)", s.ID, lines[s.ID])
			} else {
				lines[s.ID] = f.at.Line(site + ".id")
			}
			ids[s.ID] = struct{}{}
		}
		out = append(out, Site(s))
	}
	f.sites[r.ID] = ids
	return out
}
