internal import Database
internal import Glibc
package import Logging
package import ThawCore
internal import ObjectStore
internal import Wire

/// The one writer of a mount's metadata store, on the `db-writer` thread.
///
/// A file that turns out damaged is set aside and a new one begun; what was written and is not in the store yet, and
/// restores in flight, are carried over as far as they can still be read. The operation that met the damage fails, the
/// next one works.
package actor MetadataWriter {
    private let path: String
    private let executor: ThreadExecutor
    private let log: Logger
    private var connection: Connection
    private var statements: WriteStatements
    /// What the journal had when it was opened.
    package nonisolated let left: JournalLeftovers

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens the file, or makes it. Call it after the daemon has detached: a SQLite connection does not survive a fork.
    package init(path: String, executor: ThreadExecutor, log: Logger) throws(MetadataError) {
        self.path = path
        self.executor = executor
        self.log = log
        (connection, statements, left) = try Self.open(path, log)
    }

    /// A damaged file is set aside.
    static func open(
        _ path: String, _ log: Logger
    ) throws(MetadataError) -> (Connection, WriteStatements, JournalLeftovers) {
        do throws(MetadataError) {
            return try openChecked(path)
        } catch {
            guard case .database(let cause) = error, cause.isCorrupt else { throw error }
            let (connection, statements) = try replaceDamaged(path, cause, log: log)
            do throws(DatabaseError) {
                return (connection, statements, try JournalLeftovers(connection))
            } catch {
                throw .database(error)
            }
        }
    }

    private static func openChecked(
        _ path: String
    ) throws(MetadataError) -> (Connection, WriteStatements, JournalLeftovers) {
        let version: Int32
        do throws(DatabaseError) {
            let connection = try Connection(.file(path))
            version = try Schema.prepare(connection)
            if version == Schema.version {
                return (connection, try WriteStatements(connection), try JournalLeftovers(connection))
            }
        } catch {
            throw .database(error)
        }
        throw .newerVersion(Int(version))
    }

    /// Sets the damaged file aside and starts an empty one with what could still be read of the promises.
    private static func replaceDamaged(
        _ path: String, _ cause: DatabaseError, log: Logger
    ) throws(MetadataError) -> (Connection, WriteStatements) {
        let aside = path + ".damaged-\(Timestamp.now().seconds)"
        rename(path, aside)
        for suffix in ["-wal", "-shm"] { rename(path + suffix, aside + suffix) }
        let (connection, statements, _) = try openChecked(path)
        let kept = salvage(from: aside, to: connection)
        log.error(
            "the metadata store was damaged (\(cause.message)); a new one is begun, kept uploads: \(kept.uploads), kept restores: \(kept.restores), the old file is \(aside)"
        )
        return (connection, statements)
    }

    /// Carries over each of the tables that can be read to its end, the most important first. Answers how many uploads
    /// and how many objects under care came along.
    private static func salvage(from aside: String, to connection: Connection) -> (uploads: Int, restores: Int) {
        guard let attach = try? connection.prepare("ATTACH ?1 AS damaged"), (try? attach.bind(aside, at: 1)) != nil,
            (try? attach.run()) != nil
        else { return (0, 0) }
        defer { try? connection.execute("DETACH damaged") }
        for sql in Schema.carryingOver(from: "damaged") { try? connection.execute(sql) }
        func count(_ table: String) -> Int {
            (try? connection.rows("SELECT count(*) FROM main.\(table)") { Int($0.int64(0)) }.first) ?? 0
        }
        return (count("upload"), count("restore"))
    }

    /// Runs `body`; a damaged file is replaced before its error is passed on.
    func guarded<Result>(
        _ body: (Connection, WriteStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        do throws(DatabaseError) {
            return try body(connection, statements)
        } catch {
            if error.isCorrupt { (connection, statements) = try Self.replaceDamaged(path, error, log: log) }
            throw .database(error)
        }
    }

    // MARK: Listings and lookups

    /// Begins a listing of the directory and answers its number.
    package func beginListing(_ prefix: ObjectKey, at now: Timestamp) throws(MetadataError) -> Int64 {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                _ = try Self.directory(prefix, statements)
                return try Self.beginListing(prefix, at: now, statements)
            }
        }
    }

    /// Takes in what a listing (by its number) or a lookup (0) learned, in one transaction.
    package func record(_ rows: [MetadataRow], below prefix: ObjectKey, listing: Int64) throws(MetadataError) {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                try Self.record(rows, below: prefix, listing: listing, statements)
            }
        }
    }

    static func record(
        _ rows: [MetadataRow], below prefix: ObjectKey, listing: Int64, _ statements: WriteStatements
    ) throws(DatabaseError) {
        let (directory, emptiedAt) = try directory(prefix, statements)
        // What was asked before the directory was emptied is answered late, unless the clock was set back.
        for row in rows where row.checkedAt >= emptiedAt || emptiedAt.isAhead(of: row.checkedAt) {
            try statements.upsert.bindEntry(directory: directory, listing: listing, row)
            try statements.upsert.run()
        }
    }

    /// The listing came to its end: names it did not see are gone, unless a lookup has seen them since it began.
    package func finishListing(_ prefix: ObjectKey, listing: Int64) throws(MetadataError) {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                try Self.finishListing(prefix, listing: listing, statements)
            }
        }
    }

    static func finishListing(
        _ prefix: ObjectKey, listing: Int64, _ statements: WriteStatements
    ) throws(DatabaseError) {
        try statements.finishListing.bind(prefix.bytes, at: 1)
        try statements.finishListing.bind(listing, at: 2)
        let finished = try statements.finishListing.first { ($0.int64(0), $0.int64(1)) }
        guard let (directory, startedAt) = finished else { return }
        try statements.dropUnlisted.bind(directory, at: 1)
        try statements.dropUnlisted.bind(listing, at: 2)
        try statements.dropUnlisted.bind(startedAt, at: 3)
        try statements.dropUnlisted.run()
    }

    /// Makes the next look at the directory, and at any name below it, ask the store. A page that was asked for before
    /// `now` begins no listing of it.
    package func expire(directory prefix: ObjectKey, at now: Timestamp) throws(MetadataError) {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                _ = try Self.directory(prefix, statements)
                try statements.expireDirectory.bind(prefix.bytes, at: 1)
                try statements.expireDirectory.bind(now.nanoseconds, at: 2)
                try statements.expireDirectory.run()
                try statements.expireEntries.bind(prefix.bytes, at: 1)
                try statements.expireEntries.run()
            }
        }
    }

    /// Makes the next look at this one name ask the store.
    package func expire(_ segment: [UInt8], below prefix: ObjectKey) throws(MetadataError) {
        try guarded { _, statements throws(DatabaseError) in
            try statements.expireEntry.bind(prefix.bytes, at: 1)
            try statements.expireEntry.bind(segment, at: 2)
            try statements.expireEntry.run()
        }
    }

    /// The directory's id, made if there is none, and when it was emptied.
    static func directory(
        _ prefix: ObjectKey, _ statements: WriteStatements
    ) throws(DatabaseError) -> (id: Int64, emptiedAt: Timestamp) {
        try statements.ensureDirectory.bind(prefix.bytes, at: 1)
        try statements.ensureDirectory.run()
        try statements.directory.bind(prefix.bytes, at: 1)
        return try statements.directory.first { ($0.int64(0), Timestamp(nanoseconds: $0.int64(1))) } ?? (0, .epoch)
    }

    static func beginListing(
        _ prefix: ObjectKey, at now: Timestamp, _ statements: WriteStatements
    ) throws(DatabaseError) -> Int64 {
        try statements.beginListing.bind(prefix.bytes, at: 1)
        try statements.beginListing.bind(now.nanoseconds, at: 2)
        return try statements.beginListing.first { $0.int64(0) } ?? 0
    }

    /// One transaction; with `.full`, it survives a power loss.
    func committing<Result>(
        _ synchronous: Connection.Synchronous,
        _ body: (Connection, WriteStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        try guarded { connection, statements throws(DatabaseError) in
            guard synchronous == .full else {
                return try connection.transaction { () throws(DatabaseError) in try body(connection, statements) }
            }
            try connection.setSynchronous(.full)
            defer { try? connection.setSynchronous(.normal) }
            return try connection.transaction { () throws(DatabaseError) in try body(connection, statements) }
        }
    }

    /// Moves the write-ahead log into the file: the last thing before the mount ends. What cannot be moved stays in
    /// the log, and is found there.
    package func checkpoint() {
        do throws(DatabaseError) { try connection.checkpoint() } catch {
            log.debug("the metadata store's log was not folded in: \(error)")
        }
    }
}
