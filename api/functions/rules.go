package functions

import (
	"regexp"
	"strings"

	"flint"
	"flint/api"
)

const headersText = `Invalid headers: Alphanumeric characters or hyphens only, cannot start with "x-appwrite", maximum 100 keys, and total size 16384.`

// Bounds of the headers parameter of createExecution.
const (
	maxHeaders        = 100
	maxHeaderBytes    = 16_384
	maxHeadersEncoded = 65_535
)

var headerName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)

// rules returns the checks that only functions have.
func (s *Service) rules() map[string]api.Rule {
	slugs := make([]string, 0, len(s.sizes))
	for _, size := range s.sizes {
		slugs = append(slugs, size.Slug)
	}
	var ids []string
	for _, r := range s.config.Runtimes.All() {
		ids = append(ids, r.ID)
	}
	return map[string]api.Rule{
		"role":          api.TextRule(flint.ValidRole, "Role is not valid. Use any, guests, users, user:<id>, team:<id>, member:<id> or label:<name>.", nil),
		"event":         {Text: checkEvent},
		"scope":         api.EnumRule(flint.Scopes()...),
		"cron":          api.TextRule(validSchedule, "String must be a valid cron expression", nil),
		"timeout":       api.RangeRule(1, int(s.config.MaxTimeout.Seconds())),
		"specification": api.OneOf(slugs, "Specification must be one of: "+strings.Join(slugs, ", ")),
		"runtime":       api.EnumRule(ids...),
		"headers":       {Object: checkHeaders},
	}
}

func validSchedule(text string) bool {
	if text == "" {
		return true
	}
	_, err := flint.ParseCron(text)
	return err == nil
}

// checkHeaders says what is wrong with the headers that a caller gives a function.
func checkHeaders(headers api.Object, encoded int) string {
	size := 0
	for _, h := range headers {
		size += len(h.Name) + len(h.Value)
		if !headerName.MatchString(h.Name) || strings.HasPrefix(strings.ToLower(h.Name), "x-appwrite-") || strings.ContainsAny(h.Value, "\r\n\x00") {
			return headersText
		}
	}
	if len(headers) > maxHeaders || size >= maxHeaderBytes || encoded > maxHeadersEncoded {
		return headersText
	}
	return ""
}
