package pool_test

import (
	"testing"

	"cordee/pool"
)

func TestSubsidy(t *testing.T) {
	for _, c := range []struct {
		network string
		height  int32
		sats    int64
	}{
		{"main", -1, 0},
		{"main", 0, 5_000_000_000},
		{"main", 1, 5_000_000_000},
		{"main", 209_999, 5_000_000_000},
		{"main", 210_000, 2_500_000_000},
		{"main", 419_999, 2_500_000_000},
		{"main", 630_000, 625_000_000},
		{"main", 840_000, 312_500_000},
		{"main", 32*210_000 + 1, 1},
		{"main", 33 * 210_000, 0},
		{"main", 1<<31 - 1, 0},
		{"testnet4", 210_000, 2_500_000_000},
		{"signet", 210_000, 2_500_000_000},
		{"regtest", 149, 5_000_000_000},
		{"regtest", 150, 2_500_000_000},
		{"regtest", 32*150 + 149, 1},
		{"regtest", 33 * 150, 0},
		{"regtest", 64 * 150, 0},
		{"regtest", 1<<31 - 1, 0},
	} {
		n, err := pool.NetworkByName(c.network)
		if err != nil {
			t.Fatal(err)
		}
		if got := pool.Subsidy(c.height, n); got != c.sats {
			t.Errorf("Subsidy(%d, %s) = %d, want %d", c.height, c.network, got, c.sats)
		}
	}
}

// The whole of main's issue, as consensus.h's MAX_MONEY comment counts it.
func TestSubsidySumsToTheKnownSupply(t *testing.T) {
	n, err := pool.NetworkByName("main")
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for height := int32(0); pool.Subsidy(height, n) > 0; height += 210_000 {
		sum += 210_000 * pool.Subsidy(height, n)
	}
	if sum != 2_099_999_997_690_000 {
		t.Errorf("all subsidies sum to %d sats", sum)
	}
}
