package agenttest

import (
	"errors"
	"fmt"
	"math/rand"
	"net"
	"strconv"
)

// The ports of a block, by what they are for.
const (
	portLock = iota // held by the test process for as long as the block is in use
	portHTTP
	portHTTPS
	portGRPC
	portRPC
	portSerfLAN
	portSerfWAN
	portsPerBlock
)

// Blocks lie below the range from which systems take the ports of outgoing
// connections, so that none of those can be in the way.
const (
	firstBlockPort = 20000
	blocks         = 1500
)

// portBlock is a run of ports on 127.0.0.1 that no other user of this package
// takes, in whatever process, until it is freed.
type portBlock struct {
	base int
	lock net.Listener
}

func (b *portBlock) port(which int) int { return b.base + which }

func (b *portBlock) addr(which int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port(which)))
}

func (b *portBlock) free() { b.lock.Close() }

// reservePorts finds a block of which nobody uses a port.
func reservePorts() (*portBlock, error) {
	for range 100 {
		b := &portBlock{base: firstBlockPort + portsPerBlock*rand.Intn(blocks)}
		lock, err := net.Listen("tcp", b.addr(portLock))
		if err != nil {
			continue
		}
		b.lock = lock
		if b.unused() {
			return b, nil
		}
		b.free()
	}
	return nil, errors.New("no free ports on 127.0.0.1 from " + fmt.Sprint(firstBlockPort) + " on")
}

// unused reports whether all other ports of the block can be listened on, in
// TCP and, for the gossip, in UDP.
func (b *portBlock) unused() bool {
	for which := portLock + 1; which < portsPerBlock; which++ {
		l, err := net.Listen("tcp", b.addr(which))
		if err != nil {
			return false
		}
		l.Close()
		p, err := net.ListenPacket("udp", b.addr(which))
		if err != nil {
			return false
		}
		p.Close()
	}
	return true
}
