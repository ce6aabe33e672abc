package flint_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flint"
)

func TestEventNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, ids string
		want         string
	}{
		{"users.[userId].create", "U", "users.U.create users.*.create users.U users.*"},
		{"users.[userId].update.email", "U", "users.U.update users.*.update users.U.update.email users.*.update.email users.U users.*"},
		{
			"users.[userId].sessions.[sessionId].create", "U S",
			"users.U.sessions.S.create users.*.sessions.*.create users.U.sessions.*.create users.*.sessions.S.create " +
				"users.U.sessions.S users.*.sessions.* users.U.sessions.* users.*.sessions.S users.U users.*",
		},
		{
			"buckets.[bucketId].files.[fileId].create", "B F",
			"buckets.B.files.F.create buckets.*.files.*.create buckets.B.files.*.create buckets.*.files.F.create " +
				"buckets.B.files.F buckets.*.files.* buckets.B.files.* buckets.*.files.F buckets.B buckets.*",
		},
		{
			"teams.[teamId].memberships.[membershipId].update.status", "T M",
			"teams.T.memberships.M.update.status teams.*.memberships.*.update.status teams.T.memberships.*.update.status teams.*.memberships.M.update.status " +
				"teams.T.memberships.M.update teams.*.memberships.*.update teams.T.memberships.*.update teams.*.memberships.M.update " +
				"teams.T.memberships.M teams.*.memberships.* teams.T.memberships.* teams.*.memberships.M " +
				"teams.T.update.status teams.*.update.status teams.T teams.*",
		},
		{
			"databases.[databaseId].tables.[tableId].create", "D T",
			"databases.D.tables.T.create databases.D.collections.T.create databases.*.tables.*.create databases.*.collections.*.create " +
				"databases.D.tables.*.create databases.D.collections.*.create databases.*.tables.T.create databases.*.collections.T.create " +
				"databases.D.tables.T databases.D.collections.T databases.*.tables.* databases.*.collections.* " +
				"databases.D.tables.* databases.D.collections.* databases.*.tables.T databases.*.collections.T databases.D databases.*",
		},
		{
			"functions.[functionId].executions.[executionId].create", "f.1 e",
			"functions.f.1.executions.e.create functions.*.executions.*.create functions.f.1.executions.*.create functions.*.executions.e.create " +
				"functions.f.1.executions.e functions.*.executions.* functions.f.1.executions.* functions.*.executions.e functions.f.1 functions.*",
		},
	} {
		got := flint.EventNames(c.pattern, strings.Fields(c.ids)...)
		if diff := cmp.Diff(strings.Fields(c.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.pattern, diff)
		}
	}
	row := flint.EventNames("databases.[d].collections.[c].documents.[x].create", "D", "C", "X")
	if len(row) != 42 {
		t.Errorf("a row's event has %d names, want 42", len(row))
	}
	want := []string{
		"databases.D.collections.C.documents.X.create", "databases.D.tables.C.rows.X.create",
		"databases.*.collections.*.documents.*.create", "databases.*.tables.*.rows.*.create",
	}
	if diff := cmp.Diff(want, row[:4]); diff != "" {
		t.Errorf("a row's event begins (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"databases.D", "databases.*"}, row[40:]); diff != "" {
		t.Errorf("a row's event ends (-want +got):\n%s", diff)
	}
}
