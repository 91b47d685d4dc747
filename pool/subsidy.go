package pool

// baseSubsidy is what the first blocks of every network pay, in sats.
const baseSubsidy int64 = 50e8

// Subsidy returns the sats that a block at height may create on n, fees not
// counted: 50 coins, halved every n.Params.SubsidyReductionInterval blocks
// (consensus: GetBlockSubsidy). It is 0 below height 0 and after the last
// halving, which regtest reaches at height 4950.
func Subsidy(height int32, n *Network) int64 {
	halvings := height / n.Params.SubsidyReductionInterval
	if height < 0 || halvings >= 63 {
		return 0
	}
	return baseSubsidy >> halvings
}
