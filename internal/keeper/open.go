package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cordee/payout"
)

// OpenStore opens the store of the pool whose data directory dir is. It may be
// initialised once in the life of an incarnation: the file that says it was
// comes after it, and an empty store is refused from then on, unless it is
// volatile. Every round of shipping begins with it until it succeeds; a start
// asks it before, to be refused by a store that is wrong instead of halting
// payouts for it later. Errors are those of payout.Store's Open:
// payout.ErrUnavailable is no reason not to mine.
func OpenStore(ctx context.Context, dir string, store payout.Store, meta payout.Meta, volatile bool) error {
	name := filepath.Join(dir, StoreMark)
	mark := fmt.Sprintf("%x\n", meta.Incarnation)
	have, err := os.ReadFile(name) // #nosec G304 -- in data_dir
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	once := string(have) == mark
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := store.Open(ctx, meta, volatile || !once); err != nil {
		return err
	}
	if once || volatile {
		return nil
	}
	return writeFile(name, []byte(mark))
}

// StoreMark is the file in the data directory that says for which incarnation a
// store was initialised. Without it an empty store is filled from the files
// again.
const StoreMark = "store.opened"
