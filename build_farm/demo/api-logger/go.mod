module keywright.dev/demo/api-logger

go 1.25

require keywright.dev/gokit v1.0.0
