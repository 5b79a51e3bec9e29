// Package localfile has what host takes over from qemu's driver of local
// files, for inputs and outputs alike: how a name is read, and the locks by
// which programs tell each other that they use an image.
package localfile
