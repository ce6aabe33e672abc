// Package openruntimes is what a function written in Go sees: its context, its request, and the answers it can give.
// It stands in for the published module of the same path, so every exported name and its behaviour is that module's.
// [ContextWithLogs] and [LogWriter] are the only additions; Flint's adapter uses them.
package openruntimes

// Context is what a function is called with.
type Context struct {
	Req ContextRequest
	Res ContextResponse

	logger *Logger
	logs   LogWriter
}

// LogWriter takes finished log entries, each with its final newline. It is called by many goroutines at once.
type LogWriter interface {
	WriteLog(kind, text string)
}

// NewContext returns a context that logs to the files of a logger.
func NewContext(logger Logger) Context { return Context{logger: &logger} }

// ContextWithLogs returns a context that logs to w.
func ContextWithLogs(w LogWriter) Context { return Context{logs: w} }

// Log writes an entry to the logs of the execution: the values, separated by spaces.
func (c *Context) Log(messages ...any) { c.write(messages, LOGGER_TYPE_LOG) }

// Error writes an entry to the errors of the execution: the values, separated by spaces.
func (c *Context) Error(messages ...any) { c.write(messages, LOGGER_TYPE_ERROR) }

func (c *Context) write(messages []any, kind string) {
	switch {
	case c.logs != nil:
		c.logs.WriteLog(kind, entry(messages))
	case c.logger != nil:
		c.logger.Write(messages, kind, false)
	}
}
