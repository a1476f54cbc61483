package segments

import "fmt"

// LogContainer is Trove's guest_log_container_name, here the first part of a log's place in the store.
const LogContainer = "database_logs"

// BackupPrefix is where the segments of a backup are.
func BackupPrefix(container, project, backup string) string {
	return container + "/" + project + "/" + backup
}

// ArchivePrefix is where the segments of a window of an instance's log are.
func ArchivePrefix(project, instance, window string) string {
	return "database_archives/" + project + "/" + instance + "/" + window
}

// LogsPrefix is where everything is that was published of an instance's logs.
func LogsPrefix(project, instance string) string {
	return LogContainer + "/" + project + "/" + instance
}

// LogPrefix is where the chunks of an instance's log are.
func LogPrefix(project, instance, log string) string {
	return LogsPrefix(project, instance) + "/" + log
}

// ChunkName is where chunk n of a log is, counted from 1.
func ChunkName(prefix string, n int64) string { return fmt.Sprintf("%s/%08d", prefix, n) }
