package differential

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"testing"
)

// TestRandomWindows compares dd over random inputs and operands. The seed is
// fixed, so that a run can be repeated; INSTAR_SEED and INSTAR_ROUNDS ask for
// others and for more.
func TestRandomWindows(t *testing.T) {
	t.Parallel()
	seed, rounds := number(t, "INSTAR_SEED", 20), number(t, "INSTAR_ROUNDS", 300)
	random := rand.New(rand.NewSource(seed))
	inputs := append(rawInputs, qcow2Inputs...)
	w := newTwo(t, nil)
	for range rounds {
		args := []string{"dd", "if=" + inputs[random.Intn(len(inputs))], "of=out"}
		args = append(args, randomOperands(random)...)
		w.compare(t, args...)
		if t.Failed() {
			t.Fatalf("INSTAR_SEED=%d", seed)
		}
	}
}

// randomOperands returns a block size from one byte to the largest, and windows
// around the ends of images of about a megabyte, up to twice its size.
func randomOperands(random *rand.Rand) []string {
	sizes := []int64{
		1, 2, 511, 512, 513, 999, 1000, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 2147483646, 2147483647,
		1 + random.Int63n(100), 1 + random.Int63n(100_000), 1 + random.Int63n(3_000_000),
	}
	size := sizes[random.Intn(len(sizes))]
	if size < 100 { // qemu-img needs a read and a write for each block
		size += 100
	}
	blocks := func() int64 {
		switch random.Intn(8) {
		case 0:
			return 0
		case 1:
			return random.Int63()
		default:
			return random.Int63n(2<<20/size + 2)
		}
	}
	operands := []string{fmt.Sprintf("bs=%d", size)}
	if random.Intn(3) > 0 {
		operands = append(operands, fmt.Sprintf("count=%d", blocks()))
	}
	if random.Intn(3) > 0 {
		operands = append(operands, fmt.Sprintf("skip=%d", blocks()))
	}
	random.Shuffle(len(operands), func(i, j int) { operands[i], operands[j] = operands[j], operands[i] })
	return operands
}

// number returns the number in an environment variable, or otherwise.
func number(t *testing.T, variable string, otherwise int64) int64 {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
