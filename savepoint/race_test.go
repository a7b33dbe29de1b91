//go:build race

package savepoint

const raceEnabled = true
