package operator

import "errors"

// fatalError is what Fatal returns.
type fatalError struct{ error }

// Unwrap returns the cause.
func (e *fatalError) Unwrap() error { return e.error }

// Fatal marks err as one that a restart will not mend, such as an input that does not
// exist: the job then fails at once, whatever its restart strategy.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return &fatalError{err}
}

// IsFatal reports whether Fatal has marked err or a cause of it.
func IsFatal(err error) bool {
	return errors.As(err, new(*fatalError))
}
