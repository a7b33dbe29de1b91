// Package footprint says what a record takes in memory, as far as its type and the
// headers of its strings and slices tell.
package footprint
