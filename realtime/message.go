package realtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"flint"
)

// Codes of errors, which are those of WebSockets.
const (
	codeBadMessage = 1003
	codePolicy     = 1008 // the connection is closed after it
	codeTooMany    = 1013
)

// failure is what a client is told of.
type failure struct {
	code    int
	message string
}

func (f *failure) Error() string { return f.message }

func badMessage(format string, args ...any) error {
	return &failure{codeBadMessage, fmt.Sprintf(format, args...)}
}

// outMessage is what clients get.
type outMessage struct {
	Type string `json:"type"`
	Data any    `json:"data,omitempty"`
}

type errorData struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type connectedData struct {
	Channels      []string          `json:"channels"`
	Subscriptions map[string]string `json:"subscriptions"` // by slot
	User          any               `json:"user"`          // null: a guest or a key
}

type eventData struct {
	Events        []string        `json:"events"`
	Channels      []string        `json:"channels"`
	Timestamp     string          `json:"timestamp"`
	Payload       json.RawMessage `json:"payload"`
	Subscriptions []string        `json:"subscriptions"`
}

type responseData struct {
	To            string `json:"to"`
	Success       bool   `json:"success"`
	Subscriptions any    `json:"subscriptions"`
}

type subscribed struct {
	SubscriptionID string   `json:"subscriptionId"`
	Channels       []string `json:"channels"`
	Queries        []string `json:"queries"`
}

type unsubscribed struct {
	SubscriptionID string `json:"subscriptionId"`
	Removed        bool   `json:"removed"`
}

// subscription is what somebody wants to hear of.
type subscription struct {
	channels []string
	queries  []string
	filters  []filter
}

// size is how many bytes its texts have.
func (s *subscription) size() (n int) {
	for _, texts := range [][]string{s.channels, s.queries} {
		for _, text := range texts {
			n += len(text)
		}
	}
	return n
}

func newSubscription(channels, queries []string, user string) (*subscription, error) {
	if len(channels) > maxChannels {
		return nil, badMessage("A subscription takes at most %d channels.", maxChannels)
	}
	if slices.ContainsFunc(channels, func(c string) bool { return c == "" || len(c) > maxName }) {
		return nil, badMessage("The name of a channel has 1 to %d characters.", maxName)
	}
	filters, err := parseFilters(queries)
	if err != nil {
		return nil, badMessage("%s", err)
	}
	return &subscription{channels: normal(channels, user), queries: append([]string{}, queries...), filters: filters}, nil
}

// fromQuery reads the subscriptions of a URL, by slot: channels[]=a names channels, a[0][]=… the queries of a channel in
// a slot, where dots of the channel's name are underscores. A channel without queries is in slot 0.
func fromQuery(values url.Values, user string) (map[int]*subscription, []string, error) {
	var channels []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if base, index, ok := cutIndex(name); ok && base == "channels" && !strings.Contains(index, "[") {
			channels = append(channels, values[name]...)
		}
	}
	if len(channels) > maxChannels {
		return nil, nil, badMessage("A subscription takes at most %d channels.", maxChannels)
	}
	slots := map[int]*subscription{}
	names := normal(channels, user)
	for _, c := range names {
		queries := slotsOf(values, strings.ReplaceAll(c, ".", "_"))
		if len(queries) == 0 {
			queries = map[int][]string{0: nil}
		}
		for slot, texts := range queries {
			if known := slots[slot]; known != nil {
				known.channels = append(known.channels, c)
				continue
			}
			s, err := newSubscription([]string{c}, texts, user)
			if err != nil {
				return nil, nil, err
			}
			slots[slot] = s
		}
	}
	if len(slots) > maxSubscriptions {
		return nil, nil, badMessage("A connection takes at most %d subscriptions.", maxSubscriptions)
	}
	return slots, append([]string{}, names...), nil
}

// cutIndex takes name[index] apart; what follows the first bracket is the index, without the last.
func cutIndex(name string) (base, index string, ok bool) {
	base, rest, found := strings.Cut(name, "[")
	index, closed := strings.CutSuffix(rest, "]")
	return base, index, found && closed
}

// slotsOf reads the queries of one channel: name[0][]=q, name[0][1]=q, or name[]=q and name[0]=q for slots of one query.
func slotsOf(values url.Values, channel string) map[int][]string {
	slots := map[int][]string{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		base, index, ok := cutIndex(name)
		if !ok || base != channel {
			continue
		}
		slot, _, nested := strings.Cut(index, "][")
		n, err := strconv.Atoi(slot)
		switch {
		case slot == "" && !nested:
			for _, q := range values[name] {
				slots[len(slots)] = []string{q}
			}
		case err == nil && n >= 0 && n < maxSubscriptions:
			slots[n] = append(slots[n], values[name]...)
		}
	}
	return slots
}

// inMessage is what clients send.
type inMessage struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// answer does what a message asks for and returns the reply.
func (c *conn) answer(raw []byte) (*outMessage, error) {
	var in inMessage
	if err := json.Unmarshal(raw, &in); err != nil || in.Type == "" {
		return nil, badMessage("Message format is not valid.")
	}
	switch in.Type {
	case "ping":
		return &outMessage{Type: "pong"}, nil
	case "authentication":
		// Nobody can have a session: there are no users.
		return nil, badMessage("Session is not valid.")
	case "subscribe":
		return c.subscribe(in.Data)
	case "unsubscribe":
		return c.unsubscribe(in.Data)
	}
	return nil, badMessage("Message type is not valid.")
}

func (c *conn) subscribe(raw json.RawMessage) (*outMessage, error) {
	var rows []struct {
		SubscriptionID string   `json:"subscriptionId"`
		Channels       []string `json:"channels"`
		Queries        []string `json:"queries"`
	}
	if json.Unmarshal(raw, &rows) != nil || len(rows) == 0 || len(rows) > maxSubscriptions {
		return nil, badMessage("Payload is not valid.")
	}
	made, answers := map[string]*subscription{}, []subscribed{}
	for _, row := range rows {
		if len(row.SubscriptionID) > maxName {
			return nil, badMessage("A subscriptionId has at most %d characters.", maxName)
		}
		s, err := newSubscription(row.Channels, row.Queries, c.user())
		if err != nil {
			return nil, err
		}
		if row.SubscriptionID == "" {
			row.SubscriptionID = flint.NewID()
		}
		made[row.SubscriptionID] = s
		answers = append(answers, subscribed{row.SubscriptionID, append([]string{}, s.channels...), s.queries})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	more := 0
	for id := range made {
		if c.subscriptions[id] == nil {
			more++
		}
	}
	if len(c.subscriptions)+more > maxSubscriptions {
		return nil, badMessage("A connection takes at most %d subscriptions.", maxSubscriptions)
	}
	size := 0
	for id, s := range c.subscriptions {
		if made[id] == nil {
			size += s.size()
		}
	}
	for _, s := range made {
		size += s.size()
	}
	if size > subscribedBytes {
		return nil, badMessage("The channels and queries of a connection may have %d bytes together.", subscribedBytes)
	}
	maps.Copy(c.subscriptions, made) // all of them or none
	return &outMessage{"response", responseData{"subscribe", true, answers}}, nil
}

func (c *conn) unsubscribe(raw json.RawMessage) (*outMessage, error) {
	var rows []struct {
		SubscriptionID string `json:"subscriptionId"`
	}
	if json.Unmarshal(raw, &rows) != nil || len(rows) == 0 {
		return nil, badMessage("Payload is not valid.")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	answers := []unsubscribed{}
	for _, row := range rows {
		answers = append(answers, unsubscribed{row.SubscriptionID, c.subscriptions[row.SubscriptionID] != nil})
		delete(c.subscriptions, row.SubscriptionID)
	}
	return &outMessage{"response", responseData{"unsubscribe", true, answers}}, nil
}
