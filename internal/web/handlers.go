package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// Control serves the operator's socket: JSON of what Operator says, and what it
// may be told. Its file mode is its access control.
func Control(s Operator) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Status()) })
	mux.HandleFunc("GET /blocks", func(w http.ResponseWriter, r *http.Request) {
		hash := r.URL.Query().Get("hash")
		switch {
		case hash == "":
			reply(w, s.Blocks())
		case !validHash(hash):
			http.Error(w, "hash must be the 64 hex digits of a block", http.StatusBadRequest)
		default:
			reply(w, s.Blocks().only(hash))
		}
	})
	mux.HandleFunc("GET /payouts", func(w http.ResponseWriter, r *http.Request) {
		member, ok := memberOf(w, r)
		if !ok {
			return
		}
		p := PayoutsOf(s.Blocks(), member)
		known := func(a Account) bool { return a.Member == member }
		if member != "" && len(p.Payouts) == 0 && !slices.ContainsFunc(s.Accounts().Members, known) {
			http.Error(w, "no member has that id: `cordee member list` lists them", http.StatusNotFound)
			return
		}
		reply(w, p)
	})
	mux.HandleFunc("GET /accounts", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Accounts()) })
	mux.HandleFunc("GET /halts", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Halts()) })
	mux.HandleFunc("POST /halts/lift", func(w http.ResponseWriter, r *http.Request) { lift(w, r, s) })
	mux.HandleFunc("GET /closes", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Closes()) })
	mux.HandleFunc("GET /rigs", func(w http.ResponseWriter, r *http.Request) {
		if member, ok := memberOf(w, r); ok {
			reply(w, s.Rigs(member))
		}
	})
	return mux
}

// memberOf returns the member that r asks for, "" for all. Where it can be none
// the answer is given and ok false.
func memberOf(w http.ResponseWriter, r *http.Request) (member string, ok bool) {
	member = r.URL.Query().Get("member")
	if member != "" && !validMember(member) {
		http.Error(w, "member must be an id, 1 to 16 of a-z 0-9 -, or an address", http.StatusBadRequest)
		return "", false
	}
	return member, true
}

// Server returns an http.Server with limits for strangers.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}

// reply sends v whole, or an error: never half an answer under a 200.
func reply(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a figure that is no number, which is our defect
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // a client that left is not our error
}
