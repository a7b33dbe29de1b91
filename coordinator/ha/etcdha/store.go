package etcdha

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/proto/metapb"
)

// Options say where the records are.
type Options struct {
	Endpoints   []string      // of an external etcd, or of the embedded one
	ClusterID   string        // records lie below /weir/{ClusterID}/
	LeaseTTL    time.Duration // after which a silent leader is replaced; default 3 s, the least etcd grants is 1 s
	DialTimeout time.Duration // default 5 s

	// Fatal is told why the embedded etcd can't go on, such as a full disk, and must
	// end the process: nothing that etcd has promised holds any more. Without it etcd
	// writes a line of JSON with a stack and exits with 1.
	Fatal func(error)
}

// requestTimeout bounds one read or transaction. An etcd without quorum answers
// nothing; the caller decides how often to try again.
const requestTimeout = 5 * time.Second

// Store is a KV and an Election on etcd.
type Store struct {
	client *clientv3.Client
	prefix string
	ttl    time.Duration
}

var _ ha.KV = (*Store)(nil)
var _ ha.Election = (*Store)(nil)

// Open connects to etcd. It does not wait until etcd answers.
func Open(o Options) (*Store, error) {
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 3 * time.Second
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, DialTimeout: o.DialTimeout, Logger: zap.NewNop(),
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("open etcd at %s: %w", strings.Join(o.Endpoints, ","), err)
	}
	return newStore(c, o), nil
}

func newStore(c *clientv3.Client, o Options) *Store {
	return &Store{client: c, prefix: "/weir/" + o.ClusterID + "/", ttl: o.LeaseTTL}
}

// Close ends the connection.
func (s *Store) Close() error {
	// A client without a connection of its own (the embedded one) reports that its
	// context ended, which is what Close asks for.
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd client: %w", err)
	}
	return nil
}

// Get implements ha.KV.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, s.prefix+key)
	if err != nil {
		return nil, fmt.Errorf("get %s from etcd: %w", key, err)
	}
	if len(r.Kvs) == 0 {
		return nil, fmt.Errorf("get %s from etcd: %w", key, ha.ErrNotFound)
	}
	return r.Kvs[0].Value, nil
}

// List implements ha.KV.
func (s *Store) List(ctx context.Context, prefix string) ([]ha.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, s.prefix+prefix, clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, fmt.Errorf("list %s in etcd: %w", prefix, err)
	}
	entries := make([]ha.Entry, len(r.Kvs))
	for i, kv := range r.Kvs {
		entries[i] = ha.Entry{Key: strings.TrimPrefix(string(kv.Key), s.prefix), Value: kv.Value}
	}
	return entries, nil
}

// Commit implements ha.KV: one Txn, whose first comparison is the leader's
// election key. Where it fails, a second, nested comparison tells being fenced
// from a condition that does not hold.
func (s *Store) Commit(ctx context.Context, lead ha.Leadership, t ha.Txn) error {
	l, ok := lead.(*leadership)
	if !ok {
		return fmt.Errorf("commit with a leadership of %T: %w", lead, ha.ErrFenced)
	}
	var conds []clientv3.Cmp
	for _, k := range t.Absent {
		conds = append(conds, clientv3.Compare(clientv3.CreateRevision(s.prefix+k), "=", 0))
	}
	for _, k := range t.Present {
		conds = append(conds, clientv3.Compare(clientv3.CreateRevision(s.prefix+k), ">", 0))
	}
	for _, e := range t.Equal {
		conds = append(conds, clientv3.Compare(clientv3.Value(s.prefix+e.Key), "=", string(e.Value)))
	}
	var ops []clientv3.Op
	for _, e := range t.Puts {
		ops = append(ops, clientv3.OpPut(s.prefix+e.Key, string(e.Value)))
	}
	for _, k := range t.Deletes {
		ops = append(ops, clientv3.OpDelete(s.prefix+k))
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	guard := clientv3.Compare(clientv3.CreateRevision(l.key), "=", l.revision)
	r, err := s.client.Txn(ctx).If(guard).Then(clientv3.OpTxn(conds, ops, nil)).Commit()
	if err != nil {
		return commitError(err)
	}
	if !r.Succeeded {
		return ha.ErrFenced
	}
	if !r.Responses[0].GetResponseTxn().Succeeded {
		return ha.ErrConflict
	}
	return nil
}

// commitError tells refusals, after which nothing was applied, from everything
// else, after which the transaction may have been applied (I4).
func commitError(err error) error {
	for _, refused := range []error{
		rpctypes.ErrNoSpace, rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge, rpctypes.ErrDuplicateKey,
		rpctypes.ErrPermissionDenied, rpctypes.ErrInvalidAuthToken, rpctypes.ErrUserEmpty,
	} {
		if errors.Is(err, refused) {
			return fmt.Errorf("etcd refused the transaction: %w", err)
		}
	}
	if status.Code(err) == codes.InvalidArgument {
		return fmt.Errorf("etcd refused the transaction: %w", err)
	}
	return fmt.Errorf("%w: %w", ha.ErrUnknown, err)
}

// Campaign implements ha.Election.
func (s *Store) Campaign(ctx context.Context, self *metapb.LeaderRecord) (ha.Leadership, error) {
	value, err := proto.Marshal(self)
	if err != nil {
		return nil, fmt.Errorf("marshal leader record: %w", err)
	}
	// The session outlives ctx, which ends the campaign only; but an etcd that does not
	// answer must not hold up the end of the campaign.
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	session, err := concurrency.NewSession(s.client, concurrency.WithTTL(max(1, int(s.ttl/time.Second))), concurrency.WithContext(sctx))
	stop()
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("open session in etcd: %w", err)
	}
	e := concurrency.NewElection(session, s.prefix+"leader")
	if err := e.Campaign(ctx, string(value)); err != nil {
		err = errors.Join(fmt.Errorf("campaign: %w", err), session.Close())
		cancel()
		return nil, err
	}
	return &leadership{cancel: cancel, session: session, election: e, key: e.Key(), revision: e.Rev()}, nil
}

// Leader implements ha.Election.
func (s *Store) Leader(ctx context.Context) (*metapb.LeaderRecord, ha.Epoch, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, s.prefix+"leader/", clientv3.WithFirstCreate()...)
	if ends := s.client.Endpoints(); errors.Is(err, context.DeadlineExceeded) && len(ends) > 0 {
		return nil, 0, fmt.Errorf("read leader: etcd at %s does not answer: %w", strings.Join(ends, ", "), err)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read leader from etcd: %w", err)
	}
	if len(r.Kvs) == 0 {
		return nil, 0, fmt.Errorf("read leader from etcd: %w", ha.ErrNotFound)
	}
	rec := new(metapb.LeaderRecord)
	if err := proto.Unmarshal(r.Kvs[0].Value, rec); err != nil {
		return nil, 0, fmt.Errorf("decode leader record (%d bytes): %w", len(r.Kvs[0].Value), err)
	}
	return rec, ha.Epoch(r.Kvs[0].CreateRevision), nil
}

// deposePredecessor deletes every election key. Only for the one process that
// holds the lock of an embedded member's data folder: nobody else can lead there.
func (s *Store) deposePredecessor(ctx context.Context) error {
	if _, err := s.client.Delete(ctx, s.prefix+"leader/", clientv3.WithPrefix()); err != nil {
		return fmt.Errorf("delete the predecessor's election key: %w", err)
	}
	return nil
}

type leadership struct {
	cancel   context.CancelFunc // of the session's context
	session  *concurrency.Session
	election *concurrency.Election
	key      string
	revision int64
}

// Epoch implements ha.Leadership.
func (l *leadership) Epoch() ha.Epoch { return ha.Epoch(l.revision) }

// Lost implements ha.Leadership.
func (l *leadership) Lost() <-chan struct{} { return l.session.Done() }

// Resign implements ha.Leadership.
func (l *leadership) Resign(ctx context.Context) error {
	defer l.cancel()
	if err := l.election.Resign(ctx); err != nil {
		return errors.Join(fmt.Errorf("resign: %w", err), l.session.Close())
	}
	return l.session.Close()
}
