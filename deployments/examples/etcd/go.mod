module example.org/coffer-etcd

go 1.26.0

require github.com/cofferdb/coffer v0.1.0

require (
	github.com/klauspost/compress v1.20.3 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
