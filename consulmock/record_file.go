package consulmock

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/lictor-go/consul/internal/har"
)

// archive writes an archive to a file that is complete JSON after every entry.
type archive struct {
	file    archiveFile
	end     int64 // of the entries
	entries int
}

// archiveFile is what an archive needs of an [os.File].
type archiveFile interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// archiveTrailer ends the file after the last entry.
const archiveTrailer = "\n]}}\n"

// createArchive creates a file, or empties it, and writes an archive without
// entries to it.
func createArchive(file string, mode os.FileMode) (*archive, error) {
	header, err := json.Marshal(har.File{Log: har.Log{
		Version: "1.2",
		Creator: har.Creator{Name: har.CreatorName, Version: "1"},
		Entries: []har.Entry{},
	}})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return nil, err
	}
	header = bytes.TrimSuffix(header, []byte("]}}"))
	a := &archive{file: f, end: int64(len(header))}
	if _, err := f.WriteAt(append(header, archiveTrailer...), 0); err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

// add appends an entry. If it fails, the file is as it was before.
func (a *archive) add(e *har.Entry) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	separator := ",\n"
	if a.entries == 0 {
		separator = "\n"
	}
	data = append([]byte(separator), data...)
	// One write, so that the file is never left without its end.
	if _, err := a.file.WriteAt(append(data, archiveTrailer...), a.end); err != nil {
		_, restored := a.file.WriteAt([]byte(archiveTrailer), a.end)
		return errors.Join(err, restored, a.file.Truncate(a.end+int64(len(archiveTrailer))))
	}
	a.end += int64(len(data))
	a.entries++
	return nil
}
