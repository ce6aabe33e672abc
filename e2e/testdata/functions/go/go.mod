module openruntimes/handler

go 1.23

require (
	github.com/google/uuid v1.6.0
	github.com/open-runtimes/types-for-go/v4 v4.0.8
)
