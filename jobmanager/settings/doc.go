// Package settings has the settings of one job in the types that its JobMaster works
// with: decided when it is submitted (Of), read back from its record (OfRecord), and its
// graph at the parallelism that they and its rescales give it (Graph).
//
// The keys, their defaults and what is stronger are internal/config's. Pure, but for
// making a folder's name absolute.
//
// Read settings.go, then rescale.go.
package settings
