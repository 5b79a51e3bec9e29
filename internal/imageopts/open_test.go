package imageopts

import "testing"

func TestCheckOpen(t *testing.T) {
	for _, tc := range []struct {
		driver, name, value string
		known               bool
		err                 string
	}{
		{"qcow2", "l2-cache-size", "1M", true, ""},
		{"", "lazy-refcounts", "on", true, ""},
		{"raw", "lazy-refcounts", "on", false, ""},
		{"raw", "aio", "threads", false, ""},
		{"raw", "file.aio", "threads", true, ""},
		{"raw", "file.node-name", "n", true, ""},
		{"raw", "foo", "1", false, ""},
		{"qcow2", "l2-cache-size", "x", true, "Parameter 'l2-cache-size' expects a non-negative number below 2^64"},
		{"qcow2", "pass-discard-request", "1", true, "Parameter 'pass-discard-request' expects 'on' or 'off'"},
		{"qcow2", "overlap-check", "some", true, "Unsupported value 'some' for qcow2 option 'overlap-check'. Allowed are any of the following: none, constant, cached, all"},
		{"raw", "file.aio", "bogus", true, "invalid parameter value: bogus"},
		{"raw", "discard", "bogus", true, "Invalid discard option"},
		{"raw", "node-name", "1x", true, "Invalid node-name: '1x'"},
	} {
		known, err := CheckOpen(tc.driver, tc.name, tc.value)
		if known != tc.known || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("%s: %s=%s: %v, %v; want %v, %q", tc.driver, tc.name, tc.value, known, err, tc.known, tc.err)
		}
	}
}
