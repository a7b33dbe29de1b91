// Package storetest is the contract test of objstore.Store: every implementation
// calls Run from a test of its own.
//
// It is for tests only and starts goroutines that end with the test.
//
// Read storetest.go.
package storetest
