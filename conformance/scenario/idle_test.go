package scenario

import (
	"net"
	"regexp"
	"strconv"
	"strings"
)

// idleConns are connections that nothing is sent over.
type idleConns struct {
	open []net.Conn
}

var count = regexp.MustCompile(`^[0-9]+`)

// event does what the comment of a recorded event says: opens some, closes one,
// or closes all.
func (i *idleConns) event(what string, dial func() (net.Conn, error)) error {
	switch {
	case strings.HasPrefix(what, "all"):
		i.close()
	case strings.HasPrefix(what, "one"):
		i.open[0].Close()
		i.open = i.open[1:]
	default:
		n, err := strconv.Atoi(count.FindString(what))
		if err != nil {
			return err
		}
		for range n {
			c, err := dial()
			if err != nil {
				return err
			}
			i.open = append(i.open, c)
		}
	}
	return nil
}

func (i *idleConns) close() {
	for _, c := range i.open {
		c.Close()
	}
	i.open = nil
}
