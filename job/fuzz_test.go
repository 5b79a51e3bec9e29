package job

import (
	"encoding/binary"
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzDecode takes any bytes for what comes over the control channel. A message
// is whole, of one kind, and the same when it is sent on.
func FuzzDecode(f *testing.F) {
	for _, m := range []Message{
		{Grant: &Grant{ID: 3, Access: Write, Ceiling: 1 << 20}},
		{Revoke: &Revoke{ID: 3}},
		{Inspect: &Inspect{}},
		{Execute: &Execution{}},
		{Compare: &Compare{}},
		{Sum: &Sum{}},
		{Hello: &Hello{}},
		{Error: &Error{Kind: ErrOpen, Message: "x", Errno: 5}},
	} {
		frame, err := Encode(&m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
		f.Add(frame[:len(frame)-1])
		f.Add(append(frame, frame...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, n, err := Decode(data)
		switch {
		case err != nil || m == nil:
			if n != 0 {
				t.Fatalf("%d bytes of no message (%v)", n, err)
			}
			if err == nil && len(data) >= 4 && len(data)-4 >= int(binary.LittleEndian.Uint32(data)) {
				t.Fatal("a whole message is not taken")
			}
			return
		case n < 4 || n > len(data) || n != 4+int(binary.LittleEndian.Uint32(data)) || m.fields() != 1:
			t.Fatalf("%d of %d bytes are a message of %d kinds", n, len(data), m.fields())
		}
		frame, err := Encode(m)
		if err != nil {
			return // longer when it is escaped
		}
		again, _, err := Decode(frame)
		if err != nil {
			t.Fatalf("sent on: %v", err)
		}
		one, err1 := json.Marshal(m)
		two, err2 := json.Marshal(again)
		if err1 != nil || err2 != nil || string(one) != string(two) {
			t.Fatalf("%s, sent on: %s", one, two)
		}
		if again2, _, _ := Decode(append(frame, 0)); !reflect.DeepEqual(again, again2) {
			t.Fatal("what follows a message changes it")
		}
	})
}
