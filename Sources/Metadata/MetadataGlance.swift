internal import Database
internal import Synchronization
package import ThawCore

/// A quick look at the metadata store, on the caller's thread.
///
/// A lookup of a name whose row is there costs microseconds in SQLite, and many times that on the way to the thread of
/// `MetadataReader` and back. The pages are in memory as a rule; where they are not, the caller waits for the disk. It
/// never waits for a writer.
package final class MetadataGlance: Sendable {
    private let connection: Mutex<ReaderConnection>

    init(_ path: String) {
        var options = Connection.Options()
        options.busyTimeout = .zero
        options.cacheSizeBytes = 4 << 20
        connection = Mutex(ReaderConnection(path, options: options))
    }

    /// How far the directory is known, and then the rows of these segments, as far as there are any. Nil when that
    /// cannot be told now: `MetadataReader` says why.
    package func look(
        _ segments: [[UInt8]], below prefix: ObjectKey
    ) -> (state: ListingState, rows: [MetadataRow])? {
        connection.withLock { connection in
            try? connection.guarded { statements throws(DatabaseError) in
                (try statements.state(of: prefix), try statements.rows(segments, below: prefix))
            }
        }
    }
}
