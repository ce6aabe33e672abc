// Package bus tells others what has happened: the parts of this node, other nodes and whoever listens from outside. It is
// NATS, inside this process or a cluster of its own.
//
// The row is the truth and a message is a doorbell. Nothing is on the bus alone: losing every message, or the directory
// of the embedded server, loses nothing but time. So messages may be dropped wherever waiting would hurt, and nobody who
// rings, announces or publishes waits for the network but [Bus.PublishEvents] and [Bus.PublishDead], whose callers want to
// know.
//
//   - A ring says that there may be work. It is not kept.
//   - A change says what other nodes must not believe any longer. It is not kept; who may have missed some is told so.
//   - A live event says that a row has grown, while it grows. It is not kept.
//   - Events and dead letters are streams, see [Streams].
//
// Goroutines: one sends, one receives, one keeps the streams as they should be and measures them. [Bus.Close] waits for
// them, for the subscriptions and for the embedded server.
package bus
