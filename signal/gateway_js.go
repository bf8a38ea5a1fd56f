package signal

// What gateways and server say to each other (gateway.go) is left out of the browser's core, which speaks to neither as such.
var gatewayMessages, serverMessages map[string]func() Message
