package main

import (
	"fmt"
	"path/filepath"

	"conclave/merkle"
	"conclave/server/records"
	"conclave/witness"
)

// recordsFolder holds the audit log's plain copy, devicesFolder the device log's, in the data folder.
const (
	recordsFolder = "audit"
	devicesFolder = "devices"
)

// records says where the audit log is copied to and who cosigns it.
func (c *config) records() (records.Copies, error) {
	out := records.Copies{Folder: filepath.Join(c.Data, recordsFolder), Devices: filepath.Join(c.Data, devicesFolder), Quorum: c.Cosignatures}
	for _, w := range c.Witnesses {
		key, err := merkle.ParseKey(w.Key)
		if err != nil {
			return out, fmt.Errorf("witness %s: the key is not what conclave witness prints: %w", w.URL, err)
		}
		remote, err := witness.NewRemote(w.URL, key)
		if err != nil {
			return out, err
		}
		out.Witnesses = append(out.Witnesses, remote)
	}
	if out.Quorum < 0 || out.Quorum > len(out.Witnesses) {
		return out, fmt.Errorf("cosignatures: %d of %d witnesses", out.Quorum, len(out.Witnesses))
	}
	return out, nil
}
