package qcow2

import "instar/disk"

func (o *createOptions) setEncryption(values map[string]string) error { return nil }
func (o *createOptions) setCipher(values map[string]string) error {
	for _, k := range []string{"data_file", "encrypt.format", "encrypt.key-secret"} {
		if _, ok := values[k]; ok {
			return disk.Unsupportedf(formatName, "option '%s' is not supported yet", k)
		}
	}
	return nil
}
