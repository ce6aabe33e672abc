package flint

import (
	"regexp"
	"slices"
	"strings"
)

var rolePattern = regexp.MustCompile( // compiled once
	`^(any|guests|users(/(un)?verified)?` +
		`|user:[A-Za-z0-9][A-Za-z0-9._-]{0,35}(/(un)?verified)?` +
		`|team:[A-Za-z0-9][A-Za-z0-9._-]{0,35}(/[A-Za-z0-9][A-Za-z0-9._-]{0,35})?` +
		`|member:[A-Za-z0-9][A-Za-z0-9._-]{0,35}` +
		`|label:[A-Za-z0-9]{1,36})$`)

// ValidRole reports whether s is a role that may be given the right to execute a function.
func ValidRole(s string) bool { return rolePattern.MatchString(s) }

// MayExecute returns nil if one of the roles that a caller holds may execute the function through the API.
func (f *Function) MayExecute(roles []string) error {
	if len(f.Execute) == 0 {
		return ErrUserUnauthorized.Saying("No permissions provided for action 'execute'")
	}
	for _, r := range roles {
		if slices.Contains(f.Execute, r) {
			return nil
		}
	}
	return ErrUserUnauthorized.Saying(`Missing "execute" permission for role "%s". Only "%s" scopes are allowed and "%s" was given.`,
		strings.Join(roles, ", "), quoteList(f.Execute), quoteList(roles))
}

// Public reports whether anyone may call the function on its domain.
func (f *Function) Public() bool {
	return slices.Contains(f.Execute, "any") || slices.Contains(f.Execute, "guests")
}

func quoteList(items []string) string {
	return `["` + strings.Join(items, `","`) + `"]`
}
