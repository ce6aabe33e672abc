package openruntimes

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// Kinds of a log entry.
const (
	LOGGER_TYPE_LOG   = "log"
	LOGGER_TYPE_ERROR = "error"
)

const (
	maxEntry     = 8000 // bytes
	truncated    = "... Log truncated due to size limit (8000 characters)"
	nativeNotice = "Native logs detected. Use context.Log() or context.Error() for better experience.\n"
	logDirectory = "/mnt/logs"
)

// Log is one message.
type Log struct {
	Message string
}

// String returns the message.
func (l Log) String() string { return l.Message }

// Logger writes log entries to two files, and can take over what the process prints. Functions that Flint runs log
// through their context instead; a Logger is for programs and tests that make one themselves.
type Logger struct {
	Enabled            bool
	Id                 string
	IncludesNativeInfo bool

	StreamLogs   *os.File // the files
	StreamErrors *os.File

	WriterLogs         *os.File // what os.Stdout and os.Stderr are while they are taken over
	WriterErrors       *os.File
	NativeLogsCache    *os.File // what they were
	NativeErrorsCache  *os.File
	NativeStreamLogs   chan string // what was printed, once
	NativeStreamErrors chan string

	packageLog io.Writer // where package log wrote
}

// NewLogger returns a logger. Status "enabled" or "" opens the files <id>_logs.log and <id>_errors.log, below
// /mnt/logs if that is a directory and below the directory for temporary files otherwise; any other status makes a
// logger that drops everything. An id that is empty or no plain name is replaced by a new one.
func NewLogger(status, id string) (Logger, error) {
	if status != "" && status != "enabled" {
		return Logger{}, nil
	}
	if !plain(id) {
		if id = "dev"; os.Getenv("OPEN_RUNTIMES_ENV") != "development" {
			id = newID()
		}
	}
	dir := logDirectory
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = os.TempDir()
	}
	logs, err := openLog(dir, id+"_logs.log")
	if err != nil {
		return Logger{}, err
	}
	errs, err := openLog(dir, id+"_errors.log")
	if err != nil {
		_ = logs.Close() // nothing was written
		return Logger{}, err
	}
	return Logger{Enabled: true, Id: id, StreamLogs: logs, StreamErrors: errs}, nil
}

func openLog(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

// Write writes an entry of a kind. A native entry is written as it is, after a notice before the first.
func (l *Logger) Write(messages []any, kind string, native bool) {
	if !l.Enabled {
		return
	}
	file := l.StreamLogs
	if kind == LOGGER_TYPE_ERROR {
		file = l.StreamErrors
	}
	if file == nil {
		return
	}
	var text string
	if native {
		text = join(messages)
		if !l.IncludesNativeInfo {
			l.IncludesNativeInfo = true
			text = nativeNotice + text
		}
	} else {
		text = entry(messages)
	}
	_, _ = file.WriteString(text) // a log that cannot be written is lost, not an error of the function
}

// End closes the files; the logger drops what comes later.
func (l *Logger) End() {
	if !l.Enabled {
		return
	}
	l.Enabled = false
	_ = l.StreamLogs.Close()   // see Write
	_ = l.StreamErrors.Close() // see Write
}

// OverrideNativeLogs takes over os.Stdout, os.Stderr and package log until RevertNativeLogs.
func (l *Logger) OverrideNativeLogs() error {
	if l.WriterLogs != nil {
		return nil
	}
	outReader, outWriter, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("take over standard output: %w", err)
	}
	errReader, errWriter, err := os.Pipe()
	if err != nil {
		_ = outReader.Close() // unused
		_ = outWriter.Close() // unused
		return fmt.Errorf("take over standard error: %w", err)
	}
	l.WriterLogs, l.WriterErrors = outWriter, errWriter
	l.NativeLogsCache, l.NativeErrorsCache = os.Stdout, os.Stderr
	l.NativeStreamLogs, l.NativeStreamErrors = gather(outReader), gather(errReader)
	l.packageLog = log.Writer()
	os.Stdout, os.Stderr = outWriter, errWriter
	log.SetOutput(errWriter)
	return nil
}

// RevertNativeLogs gives the streams back and writes what was printed: standard output to the logs, standard error
// to the errors.
func (l *Logger) RevertNativeLogs() {
	if l.WriterLogs == nil {
		return
	}
	os.Stdout, os.Stderr = l.NativeLogsCache, l.NativeErrorsCache
	log.SetOutput(l.packageLog)
	_ = l.WriterLogs.Close()   // only ends the readers
	_ = l.WriterErrors.Close() // only ends the readers
	l.WriterLogs, l.WriterErrors = nil, nil
	if text := <-l.NativeStreamLogs; text != "" {
		l.Write([]any{text}, LOGGER_TYPE_LOG, true)
	}
	if text := <-l.NativeStreamErrors; text != "" {
		l.Write([]any{text}, LOGGER_TYPE_ERROR, true)
	}
}

// gather reads r to its end and then sends what it read. The channel has room for it, so the goroutine ends when the
// other end of r is closed, whether or not anyone still asks.
func gather(r *os.File) chan string {
	done := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(r) // what was read counts
		_ = r.Close()            // read to its end
		done <- string(text)
	}()
	return done
}

// entry is the line that stands for some values.
func entry(messages []any) string {
	text := join(messages)
	if len(text) > maxEntry {
		cut := maxEntry
		for cut > maxEntry-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + truncated
	}
	return text + "\n"
}

// join separates values by spaces: strings as they are, others in Go's syntax.
func join(messages []any) string {
	if len(messages) == 1 {
		return format(messages[0])
	}
	parts := make([]string, len(messages))
	for i, m := range messages {
		parts[i] = format(m)
	}
	return strings.Join(parts, " ")
}

func format(message any) string {
	if text, ok := message.(string); ok {
		return text
	}
	return fmt.Sprintf("%#v", message)
}

// plain reports whether an id can be part of a file's name.
func plain(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// newID is the time in microseconds and seven random digits, both hexadecimal.
func newID() string {
	return fmt.Sprintf("%013x%07x", time.Now().UnixMicro(), rand.Uint32N(1<<28))
}
