package window

// Either is a record of the one or of the other of two streams: what a Rule sees of windows
// in which two are joined.
type Either[L, R any] struct {
	Left    L
	Right   R
	IsRight bool
}
