//go:build !js

package watermark

import "log/slog"

// LogValue keeps a key out of logs. It stands apart because the browser's core links no logger.
func (k *Key) LogValue() slog.Value { return slog.StringValue("mark key") }
