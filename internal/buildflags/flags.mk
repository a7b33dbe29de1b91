# The one place for Weir's version and build flags. Make includes this file; Go code
# reads it through package buildflags. Lines are NAME := value, nothing else.
VERSION := 0.1.0-dev
BUILD_FLAGS := -trimpath
LDFLAGS := -s -w
BUILD_ENV := CGO_ENABLED=0
