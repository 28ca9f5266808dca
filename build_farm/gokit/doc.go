// Package keywright is compiled into every plugin that Keywright licenses.
//
// It owns what a plugin may do right now: it checks that the package it was started from is
// whole, opens the build's own secret, asks the server, and answers HasFeature. It knows nothing
// of what the plugin does.
//
// Always true:
//   - Nothing is believed because of where it came from. Every yes is a signed text that chains up
//     to the PluginAuthority key compiled into the binary; transport security is the second layer.
//   - Only a problem document or verdict whose code this package knows is a "no". Anything else
//     (time-outs, portal pages, bad signatures, 503) is "no answer", and no answer takes nothing
//     away before what was already granted runs out by itself.
//   - A "no" takes everything away at once, the offline lease included.
//   - API key, build secret and tokens live in memory only and are never logged.
//   - One goroutine owns all state; readers see an immutable snapshot through one atomic pointer.
//
// The package uses the standard library only, and neither os/exec, unsafe nor cgo.
package keywright
