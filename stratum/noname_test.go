package stratum

import (
	"strings"
	"testing"
)

// Any name, even none, leaves a header a header (decision 22).
func TestBlockUnderNoName(t *testing.T) {
	for _, user := range []string{`null`, `7`, `["a"]`, `""`, `"nobody"`} {
		srv, h := testServer(t, nil)
		srv.Publish(jobSet(testJob(t, 1, 1, 64)))
		p := newPuppet(t, srv)
		p.read([]byte(saySubscribe + sayAuthorize))
		is := issuedTo(p.s)[0]
		sub := mine(t, p.s, target{issue: is}, aBlock, is.work.Template.CurTime, 0, 0)
		line := submitLine("5", "@", keyID(is.key), sub, 0)
		p.read([]byte(strings.Replace(line, `"@"`, user, 1)))
		if h.blocks != 1 || h.credit != 0 {
			t.Errorf("user %s: %d blocks, credit %d", user, h.blocks, h.credit)
		}
	}
}
