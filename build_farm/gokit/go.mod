module keywright.dev/gokit

go 1.25
