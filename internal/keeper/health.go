package keeper

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"cordee/payout"
)

// watchStore asks the store about itself until ctx ends: now and then, and when it
// is back, perhaps as another.
func (k *Keeper) watchStore(ctx context.Context) {
	tick := time.NewTicker(k.cfg.HealthEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.CheckStore(ctx)
		case <-k.pokeHealth:
			k.CheckStore(ctx)
		}
	}
}

// CheckStore asks the store once what should be changed about it: somebody may
// have set it otherwise since it was opened. What would lose the ledger is a
// trouble and logged until it is changed back; payouts and mining go on, for the
// files have all. A store that is away keeps what was last known of it.
func (k *Keeper) CheckStore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	problems, err := k.cfg.Store.Health(ctx)
	if err != nil {
		return // shipping tells
	}
	k.mu.Lock()
	had := namesOf(k.problems)
	k.problems = problems
	k.mu.Unlock()
	var unfit error
	level := zerolog.WarnLevel
	if fatal := fatalOf(problems); len(fatal) > 0 {
		unfit, level = errors.New(strings.Join(problemTexts(fatal), "; ")), zerolog.ErrorLevel
	}
	k.note("store-settings", unfit)
	switch namesOf(problems) { // not what they say: figures move
	case had:
	case "":
		k.log.Info().Str("event", "store.fit").Msg("nothing is to be changed about the store any more")
	default:
		k.log.WithLevel(level).Str("event", "store.unfit").Strs("problems", problemTexts(problems)).
			Msg("something should be changed about the store; files keep everything, mining and payouts go on")
	}
}

func fatalOf(list []payout.Problem) []payout.Problem {
	return slices.DeleteFunc(slices.Clone(list), func(p payout.Problem) bool { return !p.Fatal })
}

func namesOf(list []payout.Problem) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return strings.Join(names, " ")
}

func problemTexts(list []payout.Problem) []string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return texts
}
