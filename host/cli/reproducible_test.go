package cli

import (
	"bytes"
	"testing"

	"instar/job"
)

func TestIdentify(t *testing.T) {
	vpc := job.Output{Format: "vpc", Options: map[string]string{"a": "1", "b": "2"}}
	identify := func(t *testing.T, o job.Output, size int64, epoch string, fixed bool) job.Output {
		t.Helper()
		p := &program{getenv: func(name string) string {
			if name == "SOURCE_DATE_EPOCH" {
				return epoch
			}
			return ""
		}}
		if err := p.identify(reproducible{fixed}, &o, size); err != nil {
			t.Fatal(err)
		}
		if len(o.Seed) != 32 {
			t.Fatalf("seed of %d bytes", len(o.Seed))
		}
		return o
	}
	fixed := identify(t, vpc, 4096, "", true)
	if fixed.Time != 0 {
		t.Errorf("time %d", fixed.Time)
	}
	if again := identify(t, vpc, 4096, "", true); !bytes.Equal(again.Seed, fixed.Seed) {
		t.Error("the seed is not the same again")
	}
	epoch := identify(t, vpc, 4096, "1700000000", false)
	if epoch.Time != 1700000000 {
		t.Errorf("time %d", epoch.Time)
	}
	other := vpc
	other.Options = map[string]string{"a": "1", "b": "3"}
	random, secret := identify(t, vpc, 4096, "", false), vpc
	if random.Time < 1700000000 {
		t.Errorf("time %d", random.Time)
	}
	secret.Secret = []byte("passphrase")
	for name, o := range map[string]job.Output{
		"another time":    epoch,
		"another size":    identify(t, vpc, 8192, "", true),
		"other options":   identify(t, other, 4096, "", true),
		"not fixed":       random,
		"not fixed again": identify(t, vpc, 4096, "", false),
		"encrypted":       identify(t, secret, 4096, "0", false),
	} {
		if bytes.Equal(o.Seed, fixed.Seed) {
			t.Errorf("%s: the seed is the same", name)
		}
	}
	if again := identify(t, secret, 4096, "0", false); bytes.Equal(again.Seed, identify(t, secret, 4096, "0", false).Seed) {
		t.Error("the keys of an encrypted output are not random")
	}
}

func TestIdentifyRefuses(t *testing.T) {
	for _, test := range []struct {
		epoch  string
		fixed  bool
		secret string
		want   string
	}{
		{"abc", false, "", "SOURCE_DATE_EPOCH: not a number of seconds since 1970: 'abc'"},
		{"-1", true, "", "SOURCE_DATE_EPOCH: not a number of seconds since 1970: '-1'"},
		{"99999999999999", false, "", "SOURCE_DATE_EPOCH: not a number of seconds since 1970: '99999999999999'"},
		{"", true, "p", "--reproducible cannot be used for an encrypted output: its keys have to be random"},
	} {
		p := &program{getenv: func(string) string { return test.epoch }}
		o := job.Output{Secret: []byte(test.secret)}
		if err := p.identify(reproducible{test.fixed}, &o, 0); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v, want %q", test.epoch, err, test.want)
		}
	}
}
