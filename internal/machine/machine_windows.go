package machine

// The build of every program of Weir ends here on Windows, by name, rather than at the
// first system call that it does not have.
var _ = Weir_runs_on_Linux_and_macOS_on_Windows_use_WSL_2
