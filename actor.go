package flint

import "context"

// Actor is on whose behalf something is done. Events name it.
type Actor struct {
	User string // empty: a key or the platform
	Hops int    // how many triggers led to it in turn; 0: it comes from outside
}

type actorKey struct{}

// WithActor returns a context of what an actor does.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf returns who acts in a context, or the platform.
func ActorOf(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}
