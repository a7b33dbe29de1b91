package run

import "context"

// Copy writes all entries of s to w.
func Copy(ctx context.Context, w *Writer, s Source) error {
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		e, ok := s.Next()
		if !ok {
			return s.Err()
		}
		if err := w.Add(e); err != nil {
			return err
		}
	}
}

// Add writes e as its kind says.
func (w *Writer) Add(e Entry) error {
	switch e.Kind {
	case KindSet:
		return w.Set(e.Key, e.Value)
	case KindMerge:
		return w.Merge(e.Key, e.Value)
	case KindDelete:
		return w.Delete(e.Key)
	case KindClear:
		return w.ClearRange(e.Key, e.Value)
	}
	return w.bug("entry of kind %d", e.Kind)
}
