// Package journal keeps what a process has accepted and not yet put where it belongs. A process that was killed finds it
// when it starts again.
//
// The file is mapped into memory, so that an entry costs a copy and no system call. It has its full size from the
// start: a disk that fills up later takes nothing away. What it holds outlives the process; a loss of power it
// outlives only as far as the kernel had written it, and what was cut off then is not taken for an entry.
//
// Entries come in batches. The file has room for two: one takes entries while those of the other are put away.
package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrInUse is returned for the journal of another process that lives.
var ErrInUse = errors.New("the journal is in use")

const (
	magic     = 0x31_4c_4e_4a_54_4e_4c_46 // FLNTJNL1, in the order of bytes
	headSize  = 16                        // of a half: magic, number of the batch
	frameSize = 8                         // of an entry: length, checksum
	leastSize = 4096                      // what is shorter was never a journal
)

// Batch is what was left behind.
type Batch struct {
	Number  uint64
	Entries [][]byte
}

// Journal is an open file. It is for one goroutine at a time.
type Journal struct {
	file   *os.File
	memory []byte
	found  []Batch

	active int // the half that takes entries
	number uint64
	seed   uint32 // of the checksums of its entries
	end    int    // where the next entry goes, in the active half
}

// Open opens the journal of that name, which it makes if there is none, with room for size bytes in each batch. A file
// of another size is used as it is.
func Open(name string, size int) (*Journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) // the operator's own path
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f}
	if err := j.open(2 * size); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", name, err), f.Close())
	}
	return j, nil
}

func (j *Journal) open(size int) error {
	fd := int(j.file.Fd())
	switch err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return ErrInUse
	case err != nil:
		return err
	}
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() >= leastSize {
		size = int(info.Size()) // the halves stay where they are
	}
	// Also for a file that is there: it may have been copied without its empty parts.
	if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil {
		return fmt.Errorf("take room: %w", err)
	}
	if j.memory, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map: %w", err)
	}
	for i := range 2 {
		if b := read(j.half(i)); len(b.Entries) > 0 {
			j.found = append(j.found, b)
		}
	}
	slices.SortFunc(j.found, func(a, b Batch) int { return cmp.Compare(a.Number, b.Number) })
	return nil
}

// Found returns what another process left behind, the oldest batch first. It is in memory of its own.
func (j *Journal) Found() []Batch { return j.found }

// Begin forgets everything and takes entries of the batch with that number. A number is used once.
func (j *Journal) Begin(number uint64) {
	j.clear(0)
	j.clear(1)
	j.start(0, number)
}

// Append adds an entry, which must not be empty, and reports whether there was room for it.
func (j *Journal) Append(entry []byte) (ok bool) {
	half := j.half(j.active)
	next := j.end + frameSize + len(entry)
	if next+frameSize > len(half) {
		return false
	}
	// A file system that has no room for a page after all says so with a fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	at := half[j.end:]
	copy(at[frameSize:], entry)
	binary.LittleEndian.PutUint32(half[next:], 0) // nothing after it
	binary.LittleEndian.PutUint32(at[4:], checksum(j.seed, entry))
	binary.LittleEndian.PutUint32(at, uint32(len(entry))) // last: now it is one; the size of a half bounds it
	j.end = next
	return true
}

// Turn ends the batch that has taken entries until now, whose number it returns, and begins the next. The one before
// must have been dropped.
func (j *Journal) Turn() (ended uint64) {
	ended = j.number
	j.start(1-j.active, ended+1)
	return ended
}

// Drop forgets the batch that the last turn ended.
func (j *Journal) Drop() { j.clear(1 - j.active) }

// Close closes the file, which stays with what is in it.
func (j *Journal) Close() error {
	return errors.Join(unix.Munmap(j.memory), j.file.Close())
}

// Remove closes the file and removes it.
func (j *Journal) Remove() error {
	return errors.Join(os.Remove(j.file.Name()), j.Close()) // in this order: nobody else may have opened it between
}

func (j *Journal) half(i int) []byte {
	n := len(j.memory) / 2
	return j.memory[i*n : i*n+n]
}

func (j *Journal) clear(i int) { binary.LittleEndian.PutUint64(j.half(i), 0) }

func (j *Journal) start(i int, number uint64) {
	half := j.half(i)
	binary.LittleEndian.PutUint64(half[8:], number)
	binary.LittleEndian.PutUint32(half[headSize:], 0)
	binary.LittleEndian.PutUint64(half, magic)
	j.active, j.number, j.seed, j.end = i, number, seedOf(number), headSize
}

// read returns the entries of a half up to the first that is not whole.
func read(half []byte) (b Batch) {
	if len(half) < headSize || binary.LittleEndian.Uint64(half) != magic {
		return b
	}
	b.Number = binary.LittleEndian.Uint64(half[8:])
	seed := seedOf(b.Number)
	for rest := half[headSize:]; len(rest) >= frameSize; {
		n, sum := uint64(binary.LittleEndian.Uint32(rest)), binary.LittleEndian.Uint32(rest[4:])
		rest = rest[frameSize:]
		if n == 0 || n > uint64(len(rest)) || checksum(seed, rest[:n]) != sum {
			break
		}
		b.Entries = append(b.Entries, slices.Clone(rest[:n]))
		rest = rest[n:]
	}
	return b
}

// seedOf is what the checksums of a batch begin with.
func seedOf(number uint64) uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint64(nil, number), castagnoli)
}

// checksum tells an entry of a batch from what an earlier one has left in its place.
func checksum(seed uint32, entry []byte) uint32 { return crc32.Update(seed, castagnoli, entry) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // read only
