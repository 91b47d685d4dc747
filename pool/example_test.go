package pool_test

import (
	"fmt"

	"cordee/pool"
)

// From a template to a block: what a node offers becomes a job, a rig's claim
// on it is hashed and judged, and the header that was hashed becomes a block.
func Example() {
	network, err := pool.NetworkByName("regtest")
	if err != nil {
		panic(err)
	}
	template, err := pool.NewTemplate(&pool.Template{
		Height: 1, Version: 0x20000000, PrevHash: *network.Params.GenesisHash,
		Bits: 0x207fffff, MinTime: 1_700_000_000, CurTime: 1_700_000_000, Value: pool.Subsidy(1, network),
	}, nil)
	if err != nil {
		panic(err)
	}
	treasury, err := network.Script("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")
	if err != nil {
		panic(err)
	}
	payout := pool.Payout{Outputs: []pool.Output{{Sats: template.Value, Script: treasury}}}
	job, err := pool.NewJob(template, payout, pool.DefaultClass, "/cordee/", 1, 1)
	if err != nil {
		panic(err)
	}
	work := job.Work(7, 0) // as the rigs of member 7 see it

	var batch pool.Batch
	var seen pool.Seen
	for nonce := range uint32(1000) {
		batch.Reset(&seen)
		claim := pool.Submission{
			Work: work, Extranonce1: [4]byte{1, 0, 0, 1}, Extranonce2Size: 8,
			NTime: template.CurTime, Nonce: nonce, Version: template.Version,
		}
		batch.Add(claim, pool.Claim{Issued: 1})
		batch.Hash()
		if !batch.Hashed[0].Block {
			continue
		}
		block := template.Block(&batch.Hashed[0].Header, work.Coinbase(nil, &claim))
		batch.Judge(1_700_000_000, network.Scale)
		fmt.Println(len(block), "bytes of block")
		fmt.Println("credit", batch.Verdicts[0].Credit.Text(network.Scale))
		break
	}
	batch.Judge(1_700_000_001, network.Scale)
	fmt.Println("again:", batch.Verdicts[0].Reject.Text())
	// Output:
	// 315 bytes of block
	// credit 0.00000000023283064365386962890625
	// again: Duplicate share
}

func ExampleMergeVersion() {
	version, ok := pool.MergeVersion(0x20000000, 0x083ac000, pool.VersionRollingMask)
	fmt.Printf("%08x %v\n", version, ok)
	_, ok = pool.MergeVersion(0x20000000, 0x40000000, pool.VersionRollingMask)
	fmt.Println("outside the mask:", ok)
	// Output:
	// 283ac000 true
	// outside the mask: false
}

func ExampleDifficulty_Text() {
	for _, v := range []float64{65536, 1, 0.5, 1.0 / 1024} {
		d, err := pool.DifficultyFromFloat(v, pool.MainScale)
		fmt.Println(d.Text(pool.MainScale), err)
	}
	// Output:
	// 65536 <nil>
	// 1 <nil>
	// 0.5 <nil>
	// 0.0009765625 <nil>
}
