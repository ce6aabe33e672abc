package network

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Explain says what an error of Open means, for people.
func Explain(err error) string {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return err.Error() + " (the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN are needed)"
	case errors.Is(err, unix.EROFS):
		return err.Error() + " (/proc/sys cannot be written, as in most containers)"
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return err.Error() + " (the kernel may lack nf_tables, nft_reject, nft_ct, nft_masq or veth)"
	}
	return err.Error()
}

// Describe says what the networks are like, and whether anything stands in their way.
func (p *Pool) Describe() (detail string, good bool) {
	detail = fmt.Sprintf("each sandbox has one of its own, with addresses from %s: it reaches the API and the internet, not the "+
		"host, other sandboxes and private networks; no IPv6", p.Range())
	in := obstacles()
	if len(in) == 0 {
		return detail, true
	}
	return detail + ". Rules of this host drop what is forwarded unless they say otherwise, in " + strings.Join(in, ", ") +
		": have them accept what comes from and goes to the interfaces flint*, or sandboxes reach nothing outside", false
}
