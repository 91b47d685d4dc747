package bare

import "encoding/hex"

// The coinbase of every job, 182 bytes with both extranonces: height and tag in
// the input, one P2WPKH output and the witness commitment.
var (
	coinb1 = hex.AppendEncode(nil, []byte(
		"\x02\x00\x00\x00\x01"+zeros+"\xff\xff\xff\xff"+ // version, one input that spends nothing
			"\x35\x03\xf0\xa1\x0d\x13/bare Stratum floor"+ // 53 bytes of script: height, tag,
			"\x0fno pool at all."+ // something more
			"\x0c")) // and a push of the extranonces
	coinb2 = hex.AppendEncode(nil, []byte(
		"\xfe\xff\xff\xff\x02"+ // sequence, two outputs
			"\x00\xf2\x05\x2a\x01\x00\x00\x00\x16\x00\x14"+zeros[:20]+
			"\x00\x00\x00\x00\x00\x00\x00\x00\x26\x6a\x24\xaa\x21\xa9\xed"+zeros+
			"\x00\x00\x00\x00")) // locktime
)

const zeros = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// appendNotify appends the line of job number id on top of block, whose hash is
// its number.
func appendNotify(b []byte, id, block, now uint32, clean bool) []byte {
	b = append(b, `{"id":null,"method":"mining.notify","params":["`...)
	b = appendHex32(b, id)
	b = append(b, `","`...)
	b = appendHex32(b, block)
	b = append(b, `00000000000000000000000000000000000000000000000000000000","`...)
	b = append(b, coinb1...)
	b = append(b, `","`...)
	b = append(b, coinb2...)
	b = append(b, `",[],"20000000","1d00ffff","`...)
	b = appendHex32(b, now)
	if clean {
		return append(b, `",true]}`+"\n"...)
	}
	return append(b, `",false]}`+"\n"...)
}

// appendHex32 appends v as 8 digits.
func appendHex32(b []byte, v uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}
