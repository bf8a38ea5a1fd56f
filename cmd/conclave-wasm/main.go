//go:build js && wasm

// Command conclave-wasm is the endpoint core for the browser. It runs in a worker of its own; the worker's script
// (web/src/core/worker.ts) gives it what a browser has: the WebSocket, the device key, WebCrypto, and the page.
//
// The script sets the global conclaveHost before it starts the program; the program sets conclaveCore and then lives as
// long as the worker.
package main

import (
	"syscall/js"

	"conclave/endpoint"
)

func main() {
	c := &core{host: js.Global().Get("conclaveHost")}
	functions := map[string]any{
		"open":     c.command("open", c.open),
		"media":    c.command("media", c.media),
		"stranger": c.command("stranger", c.stranger),
		"opened":   c.command("opened", c.opened),
		"spoke":    c.command("spoke", c.spoke),
		"context":  js.FuncOf(c.context),
		"renewed":  c.command("renewed", c.renewed),

		"der":          js.FuncOf(der),
		"enrolContent": js.FuncOf(enrolContent),
		"renewContent": js.FuncOf(renewContent),
		"examine":      js.FuncOf(examine),

		"vouched":          js.FuncOf(vouched),
		"devicesContent":   js.FuncOf(devicesContent),
		"revokeContent":    js.FuncOf(revokeContent),
		"assertionContent": js.FuncOf(assertionContent),
		"linkContent":      js.FuncOf(linkContent),
	}
	for _, name := range endpoint.Commands() {
		functions[name] = c.command(name, c.meeting(name))
	}
	functions["joinWith"] = functions["join"]
	js.Global().Set("conclaveCore", functions)
	select {}
}
