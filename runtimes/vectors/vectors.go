// Package vectors holds conversations of the worker protocol and plays them against adapters; README.md describes them.
package vectors

import (
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed *.json
var files embed.FS

// Conversation is what Flint and an adapter say to each other.
type Conversation struct {
	Name        string
	Bare        bool              // the steps begin before the hello
	Manual      bool              // windows are given by steps only
	Interpreted bool              // only for languages with an entrypoint
	Concurrency int               // what the language must be able to run at once
	Except      map[string]string // language to reason
	Steps       []step
}

type step struct {
	Send   *sending
	Raw    string // hex
	Expect *expectation
	Close  bool
}

type sending struct {
	Type       string
	ID         uint32
	End        bool
	Hold       bool // goes out with the next step's
	Chop       int  // write in pieces of so many bytes
	Stream     bool // the body follows in data frames, as the windows allow
	Action     string
	Query      string
	Head       map[string]any
	Headers    map[string]any
	Body       content
	Bytes      uint32 // of a window
	Entrypoint string
	Env        map[string]string
}

type expectation struct {
	Type     string
	ID       uint32
	Status   *int
	Headers  map[string]any
	Body     *content
	JSON     any
	Contains []string
	Matches  string
	Logs     *textual
	Errors   *textual
	Bytes    int
}

type textual struct {
	Equals   *content
	Contains []string // in this order
	Matches  string
	Length   int // in bytes
}

// content is a text, or an object with hex, or with repeat, times and then.
type content []byte

func (c *content) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*c = content(text)
		return nil
	}
	var v struct {
		Hex, Repeat, Then string
		Times             int
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	raw, err := hex.DecodeString(v.Hex)
	*c = append(append(raw, strings.Repeat(v.Repeat, v.Times)...), v.Then...)
	return err
}

// Conversations returns all conversations, in the order to read them in.
func Conversations() ([]Conversation, error) {
	var all []Conversation
	for _, name := range []string{"life", "requests", "bodies", "logs", "actions"} {
		raw, err := files.ReadFile(name + ".json")
		if err != nil {
			return nil, err
		}
		some, err := Parse(name, raw)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// Parse reads the conversations of one file.
func Parse(name string, raw []byte) ([]Conversation, error) {
	var all []Conversation
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("conversations %s: %w", name, err)
	}
	for i := range all {
		all[i].Name = name + ": " + all[i].Name
	}
	return all, nil
}

// Codec is the golden bytes of frames.
type Codec struct {
	Frames []struct {
		Name, Type, Hex, Payload, Head, Body string
		Flags                                uint8
		ID                                   uint32
	}
	Malformed []struct{ Name, Hex string }
}

// ReadCodec returns the golden bytes.
func ReadCodec() (*Codec, error) {
	raw, err := files.ReadFile("codec.json")
	if err != nil {
		return nil, err
	}
	c := new(Codec)
	return c, json.Unmarshal(raw, c)
}
