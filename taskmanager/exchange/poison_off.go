//go:build !race

package exchange

// poison says whether batches are mangled when they are given back.
const poison = false
