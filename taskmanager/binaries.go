package taskmanager

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weirstream/weir/proto/weirpb"
)

// binaryCache keeps job binaries by their SHA-256.
type binaryCache struct {
	dir string
	mu  sync.Mutex // one fetch at a time
}

// fetchTimeout bounds the transfer of one binary (tens of MB).
const fetchTimeout = 5 * time.Minute

// binaryName is the name of a binary's file.
func binaryName(sum []byte) string { return hex.EncodeToString(sum) }

// fetch returns the path of the binary, fetching it if it is not here.
func (c *binaryCache) fetch(client weirpb.JobManagerServiceClient, sum []byte) (string, error) {
	if len(sum) != sha256.Size {
		return "", fmt.Errorf("digest of %d bytes, want %d", len(sum), sha256.Size)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	path := filepath.Join(c.dir, binaryName(sum))
	if now := time.Now(); os.Chtimes(path, now, now) == nil { // it is here; the sweep goes by its age
		return path, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	stream, err := client.FetchObject(ctx, &weirpb.FetchObjectRequest{Sha256: sum})
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(c.dir, ".fetch-*")
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	err = receive(stream, io.MultiWriter(f, hash))
	if err == nil && !bytes.Equal(hash.Sum(nil), sum) {
		err = fmt.Errorf("content has digest %x", hash.Sum(nil))
	}
	if err = errors.Join(err, f.Chmod(0o500), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return path, nil
}

func receive(stream interface {
	Recv() (*weirpb.ObjectChunk, error)
}, to io.Writer) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := to.Write(m.Data); err != nil {
			return err
		}
	}
}
