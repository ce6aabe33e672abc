package worker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"flint/internal/frame"
	"flint/internal/sysio"
)

// runInbox runs an inbox on one end of a connection until the test ends or it does, which the channel tells.
func runInbox(t *testing.T, deliver func(frame.Header, []byte) error) (*inbox, *net.UnixConn, <-chan error) {
	t.Helper()
	s, other := socketPair(t)
	in := newInbox(s, deliver)
	ended := make(chan error, 1)
	go func() { ended <- in.run() }()
	return in, other, ended
}

func TestInboxMakesFramesOfPieces(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 10, 64<<10 - frame.HeaderSize, 64 << 10, 64<<10 + 1, frame.MaxPayload, 0}
	for range 200 {
		sizes = append(sizes, random.IntN(3000))
	}
	var sent []byte
	payloads := make([][]byte, len(sizes))
	for i, size := range sizes {
		payloads[i] = make([]byte, size)
		for j := range payloads[i] {
			payloads[i][j] = byte(random.Uint32())
		}
		sent = frame.Append(sent, frame.Data, 0, uint32(i), payloads[i])
	}
	for _, most := range []int{7, 1000, 100_000} {
		next := 0
		_, other, ended := runInbox(t, func(h frame.Header, payload []byte) error {
			if int(h.ID) != next || !bytes.Equal(payload, payloads[next]) {
				t.Errorf("frame %d: id %d, %d bytes", next, h.ID, len(payload))
			}
			next++
			return nil
		})
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(most))
			if _, err := other.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, io.EOF) || next != len(sizes) {
			t.Errorf("in pieces of at most %d: %d of %d frames, %v", most, next, len(sizes), err)
		}
	}
}

// A caller looks for its answer or leaves it to the reader, and the answer comes before, while and after it looks: none may
// be missed, whoever has it to take.
func TestInboxMissesNothing(t *testing.T) {
	t.Parallel()
	answers := make(chan uint32, 1)
	in, other, ended := runInbox(t, func(h frame.Header, _ []byte) error {
		answers <- h.ID
		return nil
	})
	go func() { // ends with the connection
		pause := rand.New(rand.NewPCG(3, 4))
		asked := make([]byte, 4)
		for {
			if _, err := io.ReadFull(other, asked); err != nil {
				return
			}
			until := time.Now().Add(time.Duration(pause.Int64N(int64(3 * lookTime / 2))))
			for time.Now().Before(until) { // shorter than a sleep
				sysio.Yield()
			}
			if _, err := other.Write(frame.Append(nil, frame.Data, 0, binary.BigEndian.Uint32(asked), nil)); err != nil {
				return
			}
		}
	}()
	for i := range uint32(5000) {
		if _, err := in.conn.tryWrite(binary.BigEndian.AppendUint32(nil, i)); err != nil {
			t.Fatal(err)
		}
		if i%3 > 0 {
			in.look(func() bool { return len(answers) > 0 })
		}
		select {
		case id := <-answers:
			if id != i {
				t.Fatalf("answer %d instead of %d", id, i)
			}
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(30 * time.Second):
			t.Fatalf("answer %d was missed", i)
		}
	}
}

func TestInboxLooksNoLonger(t *testing.T) {
	t.Parallel()
	in, other, ended := runInbox(t, func(frame.Header, []byte) error { return nil })
	in.look(func() bool { return false }) // nothing comes
	go func() {
		for many := bytes.Repeat(frame.Append(nil, frame.Log, 0, 0, []byte("\x00more")), 1000); ; {
			if _, err := other.Write(many); err != nil {
				return
			}
		}
	}()
	for range 100 {
		in.look(func() bool { return false }) // it never ends
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// What a caller finds out while it looks ends the reader, too.
func TestInboxTellsTheReader(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		end  func(*net.UnixConn) error
		want error
	}{
		"a frame that is refused": {func(c *net.UnixConn) error {
			_, err := c.Write(frame.Append(nil, frame.Data, 0, 1, nil))
			return err
		}, refused},
		"no frame": {func(c *net.UnixConn) error {
			_, err := c.Write(bytes.Repeat([]byte{0xff}, 100))
			return err
		}, frame.ErrMalformed},
		"the end": {(*net.UnixConn).Close, io.EOF},
		"the end within a frame": {func(c *net.UnixConn) error {
			_, err := c.Write(frame.Append(nil, frame.Data, 0, 1, make([]byte, 10))[:12])
			return errors.Join(err, c.Close())
		}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := make(chan struct{})
			in, other, ended := runInbox(t, func(h frame.Header, _ []byte) error {
				if h.ID == 0 {
					close(began)
					return nil
				}
				return refused
			})
			if _, err := other.Write(frame.Append(nil, frame.Data, 0, 0, nil)); err != nil {
				t.Fatal(err)
			}
			<-began
			in.mu.Lock() // when the reader sleeps
			in.conn.announce(false)
			if err := c.end(other); err != nil {
				t.Fatal(err)
			}
			if err := in.take(nil); !errors.Is(err, c.want) {
				t.Errorf("who looks gets %v, want %v", err, c.want)
			}
			in.conn.announce(true)
			in.mu.Unlock()
			in.look(func() bool { return false })
			if err := <-ended; !errors.Is(err, c.want) {
				t.Errorf("the reader ends with %v, want %v", err, c.want)
			}
		})
	}
}
