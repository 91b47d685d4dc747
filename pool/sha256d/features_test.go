//go:build amd64 && !purego

package sha256d

import (
	"slices"
	"testing"
)

// What a processor can do decides which kernels it has, and which comes first.
func TestKernelsOfFeatures(t *testing.T) {
	for _, c := range []struct {
		of   features
		want []string
	}{
		{features{}, []string{"crypto/sha256"}},                                                              // Sandy Bridge
		{features{avx2: true}, []string{"avx2", "crypto/sha256"}},                                            // Haswell to Comet Lake
		{features{avx2: true, avx512: true}, []string{"avx512", "avx2", "crypto/sha256"}},                    // Skylake-SP, Cascade Lake
		{features{sha: true}, []string{"sha-ni", "crypto/sha256"}},                                           // Goldmont
		{features{sha: true, avx2: true}, []string{"sha-ni", "avx2", "crypto/sha256"}},                       // Zen to Zen 3, Alder Lake
		{features{true, true, true}, []string{"sha-ni+avx512", "sha-ni", "avx512", "avx2", "crypto/sha256"}}, // Ice Lake, Zen 4
	} {
		var got []string
		for _, k := range c.of.kernels() {
			got = append(got, k.name)
			if k.native && !c.of.sha {
				t.Errorf("%+v: %s needs SHA-NI", c.of, k.name)
			}
			for _, w := range k.widths {
				if w.by != avx2x8 && !c.of.avx512 || !c.of.avx2 {
					t.Errorf("%+v: %s in %d lanes needs more", c.of, k.name, w.lanes)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: kernels %q, want %q", c.of, got, c.want)
		}
	}
}
