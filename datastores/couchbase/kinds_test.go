package couchbase

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// kinds are the ways in which the double stores something. Couchbase has more: sub-documents, transactions, SQL++, counters, documents that expire.
func kinds() (all []datastoretest.WriteKind) {
	for name, write := range map[string]func(ctx context.Context, h held, key string) error{
		"document": func(ctx context.Context, h held, key string) error { return h.put(ctx, key, `{"ok":true}`) },
		"replaced": func(ctx context.Context, h held, key string) error {
			if err := h.put(ctx, key, `{"ok":false}`); err != nil {
				return err
			}
			return h.put(ctx, key, `{"ok":true}`)
		},
		"deleted": func(ctx context.Context, h held, key string) error {
			if err := h.put(ctx, key+"-gone", `{}`); err != nil {
				return err
			}
			if err := h.put(ctx, key, `{"ok":true}`); err != nil {
				return err
			}
			return h.delete(ctx, key+"-gone")
		},
	} {
		key := func(round int) string { return fmt.Sprintf("%s-%d", name, round) }
		all = append(all, datastoretest.WriteKind{
			Name: name,
			Write: func(ctx context.Context, s datastoretest.Session, round int) error {
				return write(ctx, s.(held), key(round))
			},
			Read: func(ctx context.Context, s datastoretest.Session, round int) error {
				docs, err := s.(held).all(ctx)
				if err != nil {
					return err
				}
				_, gone := docs[key(round)+"-gone"]
				if docs[key(round)] != `{"ok":true}` || gone {
					return fmt.Errorf("%q; a document that was deleted is there: %t", docs[key(round)], gone)
				}
				return nil
			},
		})
	}
	return all
}
