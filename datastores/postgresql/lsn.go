package postgresql

import (
	"fmt"
	"strconv"
)

// lsn is a place in the write-ahead log, in bytes.
type lsn uint64

func parseLSN(text string) (lsn, error) {
	var high, low uint32
	if _, err := fmt.Sscanf(text, "%X/%X", &high, &low); err != nil {
		return 0, fmt.Errorf("%q is no place in the write-ahead log", text)
	}
	return lsn(high)<<32 | lsn(low), nil
}

func (l lsn) String() string {
	return strconv.FormatUint(uint64(l)>>32, 16) + "/" + strconv.FormatUint(uint64(l)&0xffffffff, 16)
}
