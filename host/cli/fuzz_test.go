package cli

import (
	"strings"
	"testing"
	"unicode"

	"instar/internal/keyval"
)

// FuzzImageOptions takes any text for an image under --image-opts. It is the
// name of a file, or one line says what is wrong with it.
func FuzzImageOptions(f *testing.F) {
	for _, text := range []string{
		"driver=qcow2,file.filename=disk.qcow2", "disk.raw", "driver=file,filename=a,,b", "driver=luks,key-secret=s,file.filename=x",
		"file.filename=a,cache.direct=maybe", "driver=raw,file=node", "key-secret=t,file.filename=a", "driver=raw,file.driver=nbd,file.host=x",
		"file.filename=json:{\"driver\":\"raw\"}", "driver=\x1b[31m",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := settings{secrets: secrets{"s": []byte("x")}, imageOpts: true}
		i, err := s.image(text)
		if err != nil {
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("%q", err)
			}
			return
		}
		var driver, secret string
		for _, kv := range keyval.Parse(text) {
			switch kv.Name {
			case "driver":
				driver = kv.Value
			case "key-secret", "encrypt.key-secret":
				secret = kv.Value
			}
		}
		if fileDrivers[driver] && i.format != driver && i.format != "raw" || !fileDrivers[driver] && i.format != driver {
			t.Fatalf("%q: format %q of driver %q", text, i.format, driver)
		}
		if (i.secret != nil) != (secret != "") || secret != "" && secret != "s" {
			t.Fatalf("%q: secret %q", text, i.secret)
		}
	})
}

// FuzzSecret takes any text for an object, unless it is one that is in a file:
// there is one secret then, under a name that a list of options can have.
func FuzzSecret(f *testing.F) {
	for _, text := range []string{
		"secret,id=a,data=x", "secret,id=a,data=eA==,format=base64", "qom-type=secret,id=a,data=a,,b", "secret,help", "help", "secret,id=1,data=x",
		"tls-creds-x509,id=a", "secret,id=a,data=\xff,format=base64", "secret,id=a,data=",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kv := range keyval.Parse(text) {
			if kv.Name == "file" {
				return
			}
		}
		var s secrets
		if err := s.Set(text); err != nil {
			if _, help := err.(*helpError); !help && strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("%q", err)
			}
			return
		}
		for id, content := range s {
			if len(s) != 1 || !identifier.MatchString(id) || content == nil {
				t.Fatalf("%q: %q", text, s)
			}
			if s.Set(text) == nil {
				t.Fatalf("%q is taken twice", text)
			}
		}
	})
}
