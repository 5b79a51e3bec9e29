package differential

import (
	"fmt"
	"math/rand"
	"testing"
)

// randomOptions are create options by output format, of which none is given
// half of the time. What is laid out otherwise on purpose is not among them:
// see docs/divergences.md.
var randomOptions = map[string][]string{
	"raw":       {"preallocation=falloc", "preallocation=full"},
	"vpc":       {"force_size=on", "subformat=fixed", "subformat=fixed,force_size"},
	"vdi":       {"static=on", "static=off", "preallocation=full"},
	"qcow":      nil,
	"qed":       {"cluster_size=64k", "cluster_size=1M", "table_size=2", "table_size=16"},
	"parallels": {"cluster_size=64k", "cluster_size=4M"},
}

// TestRandomOutputs compares dd and convert over random formats and options of
// the output, inputs and windows. Its seed and number of rounds are those of
// TestRandomWindows, by the same variables.
func TestRandomOutputs(t *testing.T) {
	t.Parallel()
	seed, rounds := number(t, "INSTAR_SEED", 20), number(t, "INSTAR_ROUNDS", 120)
	t.Logf("INSTAR_SEED=%d INSTAR_ROUNDS=%d", seed, rounds)
	random := rand.New(rand.NewSource(seed))
	formats := []string{"raw", "vpc", "vdi", "qcow", "qed", "parallels"}
	w := newTwo(t, nil)
	for round := range rounds {
		format, input := formats[random.Intn(len(formats))], vhdInputs[random.Intn(len(vhdInputs))]
		w.format = format
		args := randomConvert(random, format, input)
		// The blocks of dd say where the tables of qed are, and so does -S 0.
		if random.Intn(2) > 0 && format != "qed" {
			args = append([]string{"dd", "-O", format, "if=" + input, "of=out"}, randomOperands(random)...)
		}
		w.compare(t, args...)
		if t.Failed() {
			t.Fatalf("INSTAR_SEED=%d, round %d", seed, round)
		}
	}
}

func randomConvert(random *rand.Rand, format, input string) []string {
	args := []string{"convert", "-O", format}
	if options := randomOptions[format]; len(options) > 0 && random.Intn(2) > 0 {
		args = append(args, "-o", options[random.Intn(len(options))])
	}
	if random.Intn(4) == 0 && format != "qed" {
		args = append(args, "-S", "0")
	}
	if random.Intn(4) == 0 {
		args = append(args, "-m", fmt.Sprint(1+random.Intn(16)))
	}
	return append(args, input, "out")
}
