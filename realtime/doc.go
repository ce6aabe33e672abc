// Package realtime tells clients over WebSockets what happens in a project, as it happens: the reference's /v1/realtime.
//
// Events come from the bus, in the order of its stream; live events say that a row has grown and are read from that row.
// Who hears of an event is decided for each connection when it comes: a client by the roles that may read what it is about,
// a server, which connects with its key, by the key's scopes.
//
// Nobody waits for a slow client: each connection has a queue with a bound, and one that overflows is closed. Nothing is
// kept for those who were away: they read the rows.
//
// Goroutines: [Hub.Run] owns the delivery; each connection has two, which its handler waits for, and Run waits for the
// handlers.
package realtime
