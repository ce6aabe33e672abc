package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"flint"
)

// DeliveryClaim is a delivery in the hands of a node.
type DeliveryClaim struct {
	Webhook  *flint.Webhook
	Delivery *flint.WebhookDelivery

	uid, number int64
}

// DeliveryOutcome is what came of an attempt to deliver.
type DeliveryOutcome struct {
	Status int       // of the answer; 0: there was none
	Error  string    // empty: it was delivered
	Logs   string    // what the webhook keeps of an error
	Retry  time.Time // of an error: when to try again; zero: not at all
}

// tooManyWait is the error of deliveries that come when too many wait already.
const tooManyWait = "Too many deliveries of this webhook were waiting."

// addDelivery puts a delivery into the queue of its webhook, if that is there and enabled. One too many is given up at
// once.
func addDelivery(ctx context.Context, t *tx, d *EventDelivery) error {
	var waiting int
	found, err := t.one(ctx, "select waiting from webhooks where uid = $1 and enabled", []any{d.Webhook}, func(r scanner) error { return r.Scan(&waiting) })
	if err != nil || !found {
		return err
	}
	created := now()
	due, ended, why := millis(created), int64(0), ""
	payload := string(d.Delivery.Payload)
	if waiting >= flint.MaxWebhookWaiting {
		due, ended, payload, why = 0, due, "", tooManyWait
	}
	if err := t.exec(ctx, `insert into webhook_deliveries (webhook, seq, names, user_id, payload, created_at, due_at, ended_at, attempts, status, error)
		values ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9)`, d.Webhook, d.Delivery.Seq, d.Delivery.Names, d.Delivery.User, payload, millis(created), due, ended, why); err != nil {
		return err
	}
	if ended > 0 {
		if err := t.exec(ctx, "update webhooks set logs = $2 where uid = $1", d.Webhook, why); err != nil {
			return err
		}
		return trimDeliveries(ctx, t, d.Webhook)
	}
	return t.exec(ctx, "update webhooks set waiting = waiting + 1, due_at = case when due_at = 0 or due_at > $2 then $2 else due_at end where uid = $1", d.Webhook, due)
}

// trimDeliveries forgets the oldest that have ended when there are more than are remembered.
func trimDeliveries(ctx context.Context, t *tx, uid int64) error {
	return t.exec(ctx, `delete from webhook_deliveries where webhook = $1 and seq in (select seq from webhook_deliveries
		where webhook = $1 and ended_at > 0 order by ended_at desc, seq desc limit 100 offset $2)`, uid, flint.MaxWebhookHistory)
}

const readNextDelivery = "select due_at from webhooks where lease_node = '' and due_at > 0 order by due_at limit 1"

// NextDelivery returns when the next delivery that nobody has taken is due, or no time when there is none.
func (s *Store) NextDelivery(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.one(ctx, readNextDelivery, nil, func(r scanner) error { return r.Scan(&at) })
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return instant(at), err
}

// ClaimDelivery gives the delivery that has been due for longest to a node, for the time of a lease, or returns nothing
// when none is due. A webhook has one delivery in hands at a time.
func (s *Store) ClaimDelivery(ctx context.Context, node string, lease time.Duration) (c *DeliveryClaim, err error) {
	if node == "" {
		return nil, errNoNode
	}
	at, err := s.NextDelivery(ctx)
	if err != nil || at.IsZero() || at.After(now()) {
		return nil, err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		c, err = s.claimDelivery(ctx, t, node, lease)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s *Store) claimDelivery(ctx context.Context, t *tx, node string, lease time.Duration) (*DeliveryClaim, error) {
	at := now()
	c := &DeliveryClaim{}
	var project flint.ProjectID
	var id flint.WebhookID
	found, err := t.one(ctx, `update webhooks set lease_node = $2, lease_until = $3, claim = claim + 1 where uid = (select uid from webhooks
		where lease_node = '' and due_at > 0 and due_at <= $1 order by due_at limit 1) returning uid, claim, project, id`,
		[]any{millis(at), node, millis(at.Add(lease))}, func(r scanner) error { return r.Scan(&c.uid, &c.number, &project, &id) })
	if err != nil || !found {
		return nil, err
	}
	if c.Webhook, _, err = s.webhook(ctx, t, project, id); err != nil {
		return nil, err
	}
	found, err = t.one(ctx, `update webhook_deliveries set attempts = attempts + 1 where webhook = $1 and seq = (select seq from webhook_deliveries
		where webhook = $1 and due_at > 0 and due_at <= $2 order by due_at, seq limit 1) returning `+deliveryColumns, []any{c.uid, millis(at)},
		func(r scanner) (err error) {
			c.Delivery, err = scanDelivery(r)
			return err
		})
	if err == nil && !found { // it is due later than its webhook says
		return nil, released(ctx, t, c.uid)
	}
	return c, err
}

// released gives a webhook back, due when the next of its deliveries is.
func released(ctx context.Context, t *tx, uid int64) error {
	return t.exec(ctx, `update webhooks set lease_node = '', lease_until = 0, due_at = coalesce((select min(d.due_at) from webhook_deliveries d
		where d.webhook = $1 and d.due_at > 0), 0) where uid = $1`, uid)
}

const deliveryColumns = "seq, names, user_id, payload, created_at, due_at, ended_at, attempts, status, error"

func scanDelivery(r scanner) (*flint.WebhookDelivery, error) {
	var d flint.WebhookDelivery
	var created, due, ended int64
	err := r.Scan(&d.Seq, &d.Names, &d.User, &d.Payload, &created, &due, &ended, &d.Attempts, &d.Status, &d.Error)
	d.CreatedAt, d.DueAt, d.EndedAt = instant(created), instant(due), instant(ended)
	return &d, err
}

// FinishDelivery records what came of an attempt. It reports false for the late result of a lost claim, which changes
// nothing, and whether the webhook was disabled because it failed too often.
func (s *Store) FinishDelivery(ctx context.Context, c *DeliveryClaim, o DeliveryOutcome) (counted, disabled bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		counted, disabled = false, false
		found, err := t.one(ctx, "select 1 from webhooks where uid = $1 and claim = $2 and lease_node <> ''", []any{c.uid, c.number}, ignore)
		if err != nil || !found {
			return err
		}
		counted = true
		if err := s.attempted(ctx, t, c, o); err != nil {
			return err
		}
		if disabled, err = s.disable(ctx, t, c); err != nil {
			return err
		}
		return released(ctx, t, c.uid)
	})
	return counted && err == nil, disabled && err == nil, err
}

// attempted writes the result into the rows of the delivery and its webhook. The delivery may have been dropped meanwhile.
func (s *Store) attempted(ctx context.Context, t *tx, c *DeliveryClaim, o DeliveryOutcome) error {
	key := []any{c.uid, c.Delivery.Seq, o.Status, o.Error}
	if o.Error != "" {
		if err := t.exec(ctx, "update webhooks set logs = $2 where uid = $1", c.uid, o.Logs); err != nil {
			return err
		}
		if !o.Retry.IsZero() {
			return t.exec(ctx, "update webhook_deliveries set status = $3, error = $4, due_at = $5 where webhook = $1 and seq = $2", append(key, millis(o.Retry))...)
		}
	}
	n, err := t.count(ctx, "update webhook_deliveries set status = $3, error = $4, due_at = 0, ended_at = $5, payload = '' where webhook = $1 and seq = $2 and due_at > 0",
		append(key, millis(now()))...)
	if err != nil || n == 0 {
		return err
	}
	change := "update webhooks set waiting = waiting - 1, failures = 0 where uid = $1"
	if o.Error != "" {
		change = "update webhooks set waiting = waiting - 1, failures = failures + 1 where uid = $1"
	}
	if err := t.exec(ctx, change, c.uid); err != nil {
		return err
	}
	return trimDeliveries(ctx, t, c.uid)
}

// disable switches a webhook off that has failed too often.
func (s *Store) disable(ctx context.Context, t *tx, c *DeliveryClaim) (bool, error) {
	w, uid, err := s.webhook(ctx, t, c.Webhook.Project, c.Webhook.ID)
	if err != nil || !w.Enabled || w.Failures < flint.MaxWebhookFailures {
		return false, err
	}
	w.Enabled, w.UpdatedAt = false, now()
	return true, s.putWebhook(ctx, t, w, uid)
}

// SettleDeliveries gives back the deliveries whose lease ran out, and those that the node itself held in an earlier life
// when it passes its name at start. They may have arrived: they are tried again.
func (s *Store) SettleDeliveries(ctx context.Context, node string, at time.Time) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var lost []int64
		if err := t.each(ctx, "select uid from webhooks where lease_node <> '' and (lease_until < $1 or lease_node = $2)", []any{millis(at), node}, func(r scanner) error {
			var uid int64
			err := r.Scan(&uid)
			lost = append(lost, uid)
			return err
		}); err != nil {
			return err
		}
		for _, uid := range lost {
			if err := released(ctx, t, uid); err != nil {
				return err
			}
		}
		return nil
	})
}

// Deliveries returns the deliveries of a webhook, the newest events first, and how many wait.
func (s *Store) Deliveries(ctx context.Context, project flint.ProjectID, id flint.WebhookID, limit int) (all []*flint.WebhookDelivery, waiting int, err error) {
	var uid int64
	err = s.one(ctx, "select uid, waiting from webhooks where project = $1 and id = $2", []any{string(project), string(id)}, func(r scanner) error { return r.Scan(&uid, &waiting) })
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, flint.ErrWebhookNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	err = s.each(ctx, "select "+deliveryColumns+" from webhook_deliveries where webhook = $1 order by seq desc limit $2", []any{uid, limit}, func(r scanner) error {
		d, err := scanDelivery(r)
		all = append(all, d)
		return err
	})
	return all, waiting, err
}
