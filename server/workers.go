package server

// How many workers a node has whose settings do not say it.
const (
	workerMemory = 64 << 20 // bytes that a worker of an ordinary function has, with some room
	fewWorkers   = 16
	mostWorkers  = 1000
	leastFree    = 10        // idle workers go when less than this part of the memory is free,
	mostFree     = 512 << 20 // and only when it is less than this
)

// leastMemory returns how many bytes idle workers are to leave free of so many.
func leastMemory(total int64) int64 { return min(total/leastFree, mostFree) }

// workersFor returns how many workers there may be in so many bytes of memory, with addresses for so many networks, some of
// which stems and workers that are on their way out have.
func workersFor(memory int64, addresses int) int {
	n := int(min(memory/workerMemory, mostWorkers))
	return max(min(n, addresses*3/4), fewWorkers)
}
