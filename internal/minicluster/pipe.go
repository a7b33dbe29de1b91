package minicluster

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc/test/bufconn"
)

// pipeSize is the buffer of an in-memory connection in bytes.
const pipeSize = 256 << 10

// pipe is a listener in memory with its own dialer.
type pipe struct{ *bufconn.Listener }

func newPipe() pipe { return pipe{bufconn.Listen(pipeSize)} }

func (p pipe) dial(ctx context.Context) (net.Conn, error) {
	c, err := p.DialContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial in memory: %w", err)
	}
	return c, nil
}
