module openruntimes/handler

go 1.23

require (
	github.com/dustin/go-humanize v1.0.1
	github.com/open-runtimes/types-for-go/v4 v4.0.6
)
