// Package configuration follows a folder of keys in Consul's key-value store: it tells
// which keys were added, changed and removed, and holds the last good state in memory.
//
// A [View] is for programs that look values up:
//
//	view, err := configuration.NewView(ctx, client, "app/web", nil)
//	...
//	defer view.Close()
//	level, ok := view.Get("log/level") // the key app/web/log/level
//
// [Watch], and [View.Watch], are for programs that act on changes:
//
//	for snapshot, err := range configuration.Watch(ctx, client, "app/web", nil) {
//		if err != nil {
//			continue // the last snapshot remains what is known
//		}
//		for _, key := range snapshot.Removed {
//			...
//		}
//	}
//
// [Decode] makes values of the program's own types of them, and [Load] reads a folder
// once.
//
// # What a snapshot is
//
// A [Snapshot] is one response of the agent, and so one state of the store: what was
// written in one transaction is seen whole or not at all. Keys that do not belong
// together need no transaction, but keys that do should be written by one
// ([consul.Txn]), or be one key with a document for a value.
//
// Deletions are reported like other changes. Four things that look alike are told
// apart. A folder without keys is an empty Snapshot. One whose keys were deleted is
// an empty Snapshot that lists them as removed. One that the token may not read is
// an error, [consul.ErrPermissionDenied], and so is each other response that is none,
// such as that of an agent without a leader. An agent that does not respond is
// an error, too. With an error the last snapshot stays.
//
// What a program is given in each case, and the test that shows it, is in a table in
// docs/configuration.md.
//
// # When a change is seen
//
// At once, as a rule: a query waits at the agent until something changes. There are
// exceptions, which are the same in all versions of Consul. The recursive deletion
// of a folder above this one, such as "app/" for "app/web", can go unnoticed until the
// query has waited to its end, and so do the restoration of a backup and a change of
// what the token may read. So queries wait for 1 minute, give or take what
// agents add at random, and not for the 5 minutes of Consul's default.
//
// A folder that changes all the time is seen once a second. What others write
// elsewhere in the store costs little: responses that bring nothing new are recognized,
// and of others only the pairs that have changed are decoded.
//
// # Limits
//
// The agent sends the whole folder with each change, which takes some 100 bytes
// for each key, its name, and four thirds of its value. A folder that is followed by many programs
// should be small, some hundred keys, and values of more than some KiB belong
// elsewhere.
package configuration
