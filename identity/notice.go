package identity

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	slices.SortFunc(notices, func(a, b Notice) int { return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID)) })
	return notices, nil
}

// Seen drops a notice that the person has read on its device; it is no error if there is none.
func (d *Directory) Seen(ctx context.Context, device conclave.DeviceID, id string) error {
	if err := d.store.Delete(ctx, noticeKey(device)+"."+store.Key(id)); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// maxTold bounds of how many earlier devices a new one is told by name: who enrols many shall not bury the rest of the screen.
const maxTold = 3

// tellOfEachOther tells a person's other devices of a new one, and the new one of them: where a thief enrolled first, nothing
// else of the person's is there to be told. What the new one is told is kept with it alone, so no other device reads it away.
// Each side is listed after the new one was entered: of two that are enrolled at once, the later sees the earlier.
func (d *Directory) tellOfEachOther(ctx context.Context, device *Device, now time.Time) error {
	if err := d.tellNew(ctx, device, now); err != nil {
		return err
	}
	return d.Notify(ctx, device.Person, device.ID, Notice{
		Notice: conclave.Problem{Code: "device_enrolled", Args: map[string]string{"device": device.called()}, Fix: "revoke_if_not_you"},
		Link:   devicesPage,
	}, now)
}

// devicesPage is where people see their devices and take them out of use.
const devicesPage = "/devices"

// tellNew tells a new device of the living ones that its person has, the newest first. The one that its link was made on is
// told of too, in other words: the person may have the link from a thief, who made it on a device enrolled with theirs.
func (d *Directory) tellNew(ctx context.Context, device *Device, now time.Time) error {
	all, err := d.Devices(ctx, device.Person)
	if err != nil {
		return err
	}
	from := func(one Device) bool { return device.Link != nil && device.Link.Device == one.ID }
	others := slices.DeleteFunc(all, func(one Device) bool { return one.ID == device.ID || one.Revoked != nil || one.lapsed(now) })
	slices.SortFunc(others, func(a, b Device) int {
		if from(a) != from(b) { // never among those that are only counted
			if from(a) {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Enrolled.Compare(a.Enrolled), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for i, one := range others[:min(len(others), maxTold)] {
		p := conclave.Problem{Code: "device_before", Fix: "revoke_if_not_you"}
		if from(one) {
			p = conclave.Problem{Code: "device_link_made", Fix: "revoke_if_not_you"}
		}
		p.Args = map[string]string{"device": one.called(), "date": one.Enrolled.UTC().Format(time.RFC3339)}
		if err := d.tell(ctx, device, i, p, now); err != nil {
			return err
		}
	}
	if more := len(others) - maxTold; more > 0 {
		return d.tell(ctx, device, maxTold, conclave.Problem{Code: "device_before_more", Fix: "look_at_devices",
			Args: map[string]string{"count": strconv.Itoa(more)}}, now)
	}
	return nil
}

// tell keeps one of several notices for a new device, which has none yet.
func (d *Directory) tell(ctx context.Context, device *Device, place int, p conclave.Problem, now time.Time) error {
	n := Notice{ID: fmt.Sprintf("%016x%02x", now.UnixNano(), place), Time: now.UTC(), Notice: p, Link: devicesPage}
	return d.put(ctx, noticeKey(device.ID)+"."+store.Key(n.ID), n)
}

// called is what the person knows a device by.
func (d *Device) called() string {
	if d.Name == "" {
		return d.ID.Text()[:8]
	}
	return d.Name
}
