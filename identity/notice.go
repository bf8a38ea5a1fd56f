package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"conclave"
	"conclave/store"
)

// maxNotices bounds what waits for one device; the oldest stay, a flood shall not push out the first sign of it.
const maxNotices = 32

// Notice is something that a person is to be told on one of their devices, when it next connects.
type Notice struct {
	ID     string           `json:"id"`
	Time   time.Time        `json:"time"`
	Notice conclave.Problem `json:"notice"`
	Link   string           `json:"link,omitempty"` // path and query on this server
}

func noticeKey(device conclave.DeviceID) store.Key { return "devicenotice." + store.Key(device.Text()) }

// Notify keeps a notice for every living device of a person but one (the zero id: for all).
func (d *Directory) Notify(ctx context.Context, person conclave.PersonID, except conclave.DeviceID, n Notice, now time.Time) error {
	devices, err := d.Devices(ctx, person)
	if err != nil {
		return err
	}
	n.Time, n.ID = now.UTC(), fmt.Sprintf("%016x", now.UnixNano())
	for _, device := range devices {
		if device.ID == except || device.Revoked != nil {
			continue
		}
		waiting, err := d.Notices(ctx, device.ID)
		if err != nil {
			return err
		}
		if len(waiting) >= maxNotices {
			continue
		}
		if err := d.put(ctx, noticeKey(device.ID)+"."+store.Key(n.ID), n); err != nil {
			return err
		}
	}
	return nil
}

// Notices returns what waits for a device, the oldest first.
func (d *Directory) Notices(ctx context.Context, device conclave.DeviceID) ([]Notice, error) {
	entries, err := d.store.List(ctx, noticeKey(device))
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	notices := make([]Notice, len(entries))
	for i, e := range entries {
		if err := json.Unmarshal(e.Value, &notices[i]); err != nil {
			return nil, fmt.Errorf("identity: a stored value cannot be read: %v", err)
		}
	}
	slices.SortFunc(notices, func(a, b Notice) int { return a.Time.Compare(b.Time) })
	return notices, nil
}

// Seen drops a notice that the person has read on its device; it is no error if there is none.
func (d *Directory) Seen(ctx context.Context, device conclave.DeviceID, id string) error {
	if err := d.store.Delete(ctx, noticeKey(device)+"."+store.Key(id)); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// tellOthers tells a person's other devices of a new one.
func (d *Directory) tellOthers(ctx context.Context, device *Device, now time.Time) error {
	name := device.Name
	if name == "" {
		name = device.ID.Text()[:8]
	}
	return d.Notify(ctx, device.Person, device.ID, Notice{
		Notice: conclave.Problem{Code: "device_enrolled", Args: map[string]string{"device": name}, Fix: "revoke_if_not_you"},
		Link:   "/devices",
	}, now)
}
