package exchange

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/weirstream/weir/job"
)

// refusal is why a connection is not taken.
type refusal uint8

// NB: on the wire; never renumber.
const (
	accepted         refusal = 0
	refusedCluster   refusal = 1 // another cluster
	refusedJob       refusal = 2 // another job
	refusedBinary    refusal = 3 // the peer runs another binary
	refusedStale     refusal = 4 // the incarnation is over
	refusedSecret    refusal = 5
	refusedWorker    refusal = 6 // not a worker of the incarnation, or not addressed to us
	refusedSecond    refusal = 7 // a connection exists, or existed and broke
	refusedUnknown   refusal = 8 // the incarnation has not come within holdTimeout
	refusedMalformed refusal = 9
)

// ErrRefused marks a handshake that was answered with no.
var ErrRefused = errors.New("connection refused by the worker")

type nonce [nonceBytes]byte

func newNonce() (n nonce) {
	_, _ = rand.Read(n[:]) // never fails (crypto/rand)
	return n
}

// hello is what the dialling worker says of itself.
type hello struct {
	nonce              nonce
	incarnation        job.Incarnation
	binary             [32]byte
	cluster, job       string
	fromWorker, worker string
}

func (h hello) append(b []byte) []byte {
	b = append(b, h.nonce[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.incarnation))
	b = append(b, h.binary[:]...)
	for _, s := range []string{h.cluster, h.job, h.fromWorker, h.worker} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

func parseHello(b []byte) (h hello, err error) {
	const fixed = nonceBytes + 8 + 32
	if len(b) < fixed {
		return h, fmt.Errorf("hello of %d bytes is too short", len(b))
	}
	copy(h.nonce[:], b)
	h.incarnation = job.Incarnation(binary.LittleEndian.Uint64(b[nonceBytes:]))
	copy(h.binary[:], b[nonceBytes+8:])
	b = b[fixed:]
	for _, s := range []*string{&h.cluster, &h.job, &h.fromWorker, &h.worker} {
		if len(b) < 2 {
			return h, errors.New("hello ends inside an id")
		}
		n := int(binary.LittleEndian.Uint16(b))
		if n > maxIDBytes || len(b) < 2+n {
			return h, fmt.Errorf("hello has an id of %d bytes", n)
		}
		*s, b = string(b[2:2+n]), b[2+n:]
	}
	if len(b) > 0 {
		return h, fmt.Errorf("hello has %d bytes too many", len(b))
	}
	return h, nil
}

func mac(secret []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, secret)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func helloMAC(secret []byte, greeting nonce, body []byte) []byte {
	return mac(secret, []byte("hello"), greeting[:], body)
}

func answerMAC(secret []byte, n nonce, r refusal) []byte {
	return mac(secret, []byte("answer"), n[:], []byte{byte(r)})
}

// preamble is magic and version, with which both ends begin.
func preamble() []byte {
	return binary.LittleEndian.AppendUint16([]byte(magic), formatVersion)
}

func readPreamble(r io.Reader) error {
	b := make([]byte, len(magic)+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read preamble: %w", err)
	}
	if !bytes.Equal(b[:len(magic)], []byte(magic)) {
		return fmt.Errorf("%w: the other end speaks no data protocol (%q)", errFrame, b)
	}
	if v := binary.LittleEndian.Uint16(b[len(magic):]); v != formatVersion {
		return fmt.Errorf("%w: data protocol version %d, want %d", errFrame, v, formatVersion)
	}
	return nil
}

// sendGreeting opens the handshake of the accepting end.
func sendGreeting(w io.Writer) (nonce, error) {
	n := newNonce()
	if _, err := w.Write(append(preamble(), n[:]...)); err != nil {
		return n, fmt.Errorf("write greeting: %w", err)
	}
	return n, nil
}

// readHello reads the hello; body and sum are for helloMAC.
func readHello(r io.Reader) (h hello, body, sum []byte, err error) {
	if err := readPreamble(r); err != nil {
		return h, nil, nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return h, nil, nil, fmt.Errorf("read hello: %w", err)
	}
	n := int(binary.LittleEndian.Uint16(size[:]))
	if n > maxHelloBytes {
		return h, nil, nil, fmt.Errorf("%w: hello of %d bytes", errFrame, n)
	}
	b := make([]byte, n+macBytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, nil, nil, fmt.Errorf("read hello: %w", err)
	}
	h, err = parseHello(b[:n])
	return h, b[:n], b[n:], err
}

// answer ends the handshake of the accepting end. secret is nil when it is not
// known.
func answer(w io.Writer, secret []byte, n nonce, r refusal, reason string) error {
	b := []byte{byte(r)}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(reason)))
	b = append(b, reason...)
	if secret == nil {
		b = append(b, make([]byte, macBytes)...)
	} else {
		b = append(b, answerMAC(secret, n, r)...)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

// greet is the handshake of the dialling end. It waits for as long as the other
// end holds the connection; the caller bounds that.
func greet(rw io.ReadWriter, secret []byte, h hello) error {
	if err := readPreamble(rw); err != nil {
		return err
	}
	var greeting nonce
	if _, err := io.ReadFull(rw, greeting[:]); err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	h.nonce = newNonce()
	body := h.append(nil)
	if len(body) > maxHelloBytes {
		return fmt.Errorf("send hello: %d bytes of ids, the most is %d", len(body), maxHelloBytes)
	}
	b := binary.LittleEndian.AppendUint16(preamble(), uint16(len(body)))
	b = append(append(b, body...), helloMAC(secret, greeting, body)...)
	if _, err := rw.Write(b); err != nil {
		return fmt.Errorf("write hello: %w", err)
	}
	return readAnswer(rw, secret, h.nonce)
}

func readAnswer(r io.Reader, secret []byte, n nonce) error {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	size := int(binary.LittleEndian.Uint16(head[1:]))
	if size > 1024 {
		return fmt.Errorf("%w: reason of %d bytes", errFrame, size)
	}
	b := make([]byte, size+macBytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	status := refusal(head[0])
	if status != accepted {
		return fmt.Errorf("%w: %s (status %d)", ErrRefused, b[:size], status)
	}
	if !hmac.Equal(b[size:], answerMAC(secret, n, status)) {
		return fmt.Errorf("%w: the worker that answers does not know the job's secret", ErrRefused)
	}
	return nil
}
