package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/statebackend/objstore"
)

// Verify compares the digest of the whole run with what was written. It reads every
// byte.
func (r Run) Verify(ctx context.Context, open Opener) error {
	if r.Inline != nil {
		return verify(ctx, r.ID, File{Name: "inline", Size: r.Bytes, Digest: r.Digest}, objstore.BytesReader(r.Inline), io.Discard)
	}
	for _, f := range r.Files {
		if err := r.verifyFile(ctx, f, open); err != nil {
			return err
		}
	}
	return nil
}

// Check opens every file as a reader would: it compares size, the digest of the tail,
// and that the file is this run's.
func (r Run) Check(ctx context.Context, open Opener) error {
	if r.Inline != nil {
		f := r.inlineFile()
		t, err := Open(ctx, objstore.BytesReader(r.Inline), r.ID, 0, f)
		if err != nil {
			return err
		}
		return t.Close()
	}
	for n := range r.Files {
		if err := r.CheckFile(ctx, n, open); err != nil {
			return err
		}
	}
	return nil
}

// CheckFile is Check of file n.
func (r Run) CheckFile(ctx context.Context, n int, open Opener) error {
	f := r.Files[n]
	rd, err := r.openFile(ctx, f, open)
	if err != nil {
		return fmt.Errorf("open run %s, file %s: %w", r.ID, f.Name, err)
	}
	t, err := Open(ctx, rd, r.ID, n, f) // closes rd if it fails
	if err != nil {
		return err
	}
	return t.Close()
}

// CopyFile writes file n to w, and compares its digest on the way: an error may come
// after all bytes.
func (r Run) CopyFile(ctx context.Context, n int, open Opener, w io.Writer) error {
	f := r.Files[n]
	rd, err := r.openFile(ctx, f, open)
	if err != nil {
		return fmt.Errorf("copy run %s, file %s: %w", r.ID, f.Name, err)
	}
	defer rd.Close()
	return verify(ctx, r.ID, f, rd, w)
}

// openFile opens f where it lies: an object, or a part of a pack.
func (r Run) openFile(ctx context.Context, f File, open Opener) (objstore.Reader, error) {
	rd, err := open(ctx, f.Name)
	if err != nil || f.PackSize == 0 {
		return rd, err
	}
	if rd.Size() != f.PackSize {
		err := &CorruptError{Run: r.ID, File: f.Name, What: "size of the pack in bytes", Want: fmt.Sprint(f.PackSize), Got: fmt.Sprint(rd.Size())}
		return nil, errors.Join(err, rd.Close())
	}
	return objstore.Part(rd, f.Offset, f.Size), nil
}

// inlineFile describes an inline run as a file: all of it is tail.
func (r Run) inlineFile() File {
	size := int64(len(r.Inline))
	return File{Name: "inline", Size: size, TailSize: size, TailDigest: r.Digest, Digest: r.Digest}
}

func (r Run) verifyFile(ctx context.Context, f File, open Opener) error {
	rd, err := r.openFile(ctx, f, open)
	if err != nil {
		return fmt.Errorf("verify run %s, file %s: %w", r.ID, f.Name, err)
	}
	defer rd.Close()
	return verify(ctx, r.ID, f, rd, io.Discard)
}

func verify(ctx context.Context, id string, f File, r objstore.Reader, to io.Writer) error {
	corrupt := func(offset int64, what, want, got string) error {
		return &CorruptError{Run: id, File: f.Name, Offset: offset, What: what, Want: want, Got: got}
	}
	if r.Size() != f.Size {
		return corrupt(0, "size in bytes", fmt.Sprint(f.Size), fmt.Sprint(r.Size()))
	}
	hash := xxh3.New128()
	buf := make([]byte, min(f.Size, 256<<10))
	for off := int64(0); off < f.Size; {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("verify run %s, file %s: %w", id, f.Name, err)
		}
		b := buf[:min(int64(len(buf)), f.Size-off)]
		if err := objstore.ReadFull(r, b, off); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return corrupt(off, "read", fmt.Sprintf("%d bytes", len(b)), "an earlier end of the file")
			}
			return fmt.Errorf("verify run %s, file %s: read %d bytes at offset %d: %w", id, f.Name, len(b), off, err)
		}
		hash.Write(b)
		if _, err := to.Write(b); err != nil {
			return fmt.Errorf("copy run %s, file %s: %w", id, f.Name, err)
		}
		off += int64(len(b))
	}
	sum := hash.Sum128().Bytes()
	if !bytes.Equal(sum[:], f.Digest) {
		return corrupt(0, "digest of the file", fmt.Sprintf("%x", f.Digest), fmt.Sprintf("%x", sum))
	}
	return nil
}
