internal import Database
internal import Glibc
package import Logging
package import ThawCore
internal import ObjectStore
internal import Wire

/// The one writer of a mount's metadata store, on the `db-writer` thread.
///
/// A file that turns out damaged is set aside and a new one begun; restores in flight are carried over as far as they
/// can still be read. The operation that met the damage fails, the next one works.
package actor MetadataWriter {
    private let path: String
    private let executor: ThreadExecutor
    private let log: Logger
    private var connection: Connection
    private var statements: WriteStatements

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens the file, or makes it. Call it after the daemon has detached: a SQLite connection does not survive a fork.
    package init(path: String, executor: ThreadExecutor, log: Logger) throws(MetadataError) {
        self.path = path
        self.executor = executor
        self.log = log
        do throws(MetadataError) {
            (connection, statements) = try Self.openChecked(path)
        } catch {
            guard case .database(let cause) = error, cause.isCorrupt else { throw error }
            (connection, statements) = try Self.replaceDamaged(path, cause, log: log)
        }
    }

    private static func openChecked(_ path: String) throws(MetadataError) -> (Connection, WriteStatements) {
        let version: Int32
        do throws(DatabaseError) {
            let connection = try Connection(.file(path))
            version = try Schema.prepare(connection)
            if version == Schema.version { return (connection, try WriteStatements(connection)) }
        } catch {
            throw .database(error)
        }
        throw .newerVersion(Int(version))
    }

    /// Sets the damaged file aside and starts an empty one with the restores that could still be read.
    private static func replaceDamaged(
        _ path: String, _ cause: DatabaseError, log: Logger
    ) throws(MetadataError) -> (Connection, WriteStatements) {
        let salvaged = salvageRestores(path)
        let aside = path + ".damaged-\(Timestamp.now().seconds)"
        rename(path, aside)
        for suffix in ["-wal", "-shm"] { rename(path + suffix, aside + suffix) }
        log.error(
            "the metadata store was damaged (\(cause.message)); a new one is begun, kept restores: \(salvaged.count), the old file is \(aside)"
        )
        let opened = try openChecked(path)
        do throws(DatabaseError) {
            for row in salvaged { try put(row, opened.1.putRestore) }
        } catch {
            throw .database(error)
        }
        return opened
    }

    private static func salvageRestores(_ path: String) -> [RestoreRow] {
        var options = Connection.Options()
        options.isReadOnly = true
        guard let connection = try? Connection(.file(path), options: options) else { return [] }
        return (try? readRestores(connection)) ?? []
    }

    /// Runs `body`; a damaged file is replaced before its error is passed on.
    private func guarded<Result>(
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
                _ = try Self.directoryID(prefix, statements)
                try statements.beginListing.bind(prefix.bytes, at: 1)
                try statements.beginListing.bind(now.nanoseconds, at: 2)
                return try Self.singleRow(statements.beginListing) { $0.int64(0) } ?? 0
            }
        }
    }

    /// Takes in what a listing (by its number) or a lookup (0) learned, in one transaction.
    package func record(_ rows: [MetadataRow], below prefix: ObjectKey, listing: Int64) throws(MetadataError) {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                let directory = try Self.directoryID(prefix, statements)
                for row in rows {
                    try statements.upsert.bindEntry(directory: directory, listing: listing, row)
                    try statements.upsert.run()
                }
            }
        }
    }

    /// The listing came to its end: names it did not see are gone, unless a lookup has seen them since it began.
    package func finishListing(_ prefix: ObjectKey, listing: Int64) throws(MetadataError) {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                try statements.finishListing.bind(prefix.bytes, at: 1)
                try statements.finishListing.bind(listing, at: 2)
                let finished = try Self.singleRow(statements.finishListing) { ($0.int64(0), $0.int64(1)) }
                guard let (directory, startedAt) = finished else { return }
                try statements.dropUnlisted.bind(directory, at: 1)
                try statements.dropUnlisted.bind(listing, at: 2)
                try statements.dropUnlisted.bind(startedAt, at: 3)
                try statements.dropUnlisted.run()
            }
        }
    }

    /// Makes the next look at the directory, and at any name below it, ask the store.
    package func expire(directory prefix: ObjectKey) throws(MetadataError) {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                for statement in [statements.expireDirectory, statements.expireEntries] {
                    try statement.bind(prefix.bytes, at: 1)
                    try statement.run()
                }
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

    private static func directoryID(_ prefix: ObjectKey, _ statements: WriteStatements) throws(DatabaseError) -> Int64 {
        try statements.ensureDirectory.bind(prefix.bytes, at: 1)
        try statements.ensureDirectory.run()
        try statements.directoryID.bind(prefix.bytes, at: 1)
        return try singleRow(statements.directoryID) { $0.int64(0) } ?? 0
    }

    private static func singleRow<Value>(
        _ statement: Statement, _ read: (Statement) -> Value
    ) throws(DatabaseError) -> Value? {
        defer { statement.reset() }
        return try statement.step() ? read(statement) : nil
    }

    /// Moves the write-ahead log into the file: the last thing before the mount ends. What cannot be moved stays in
    /// the log, and is found there.
    package func checkpoint() {
        do throws(DatabaseError) { try connection.checkpoint() } catch {
            log.debug("the metadata store's log was not folded in: \(error)")
        }
    }

    // MARK: Restores

    /// Remembers a restore. It survives a crash of the daemon once this returns, and one of the machine if `durably`.
    package func put(_ row: RestoreRow, durably isDurable: Bool) throws(MetadataError) {
        guard isDurable else {
            return try guarded { _, statements throws(DatabaseError) in try Self.put(row, statements.putRestore) }
        }
        try durably { statements throws(DatabaseError) in try Self.put(row, statements.putRestore) }
    }

    /// The restore ended, well or badly.
    package func dropRestore(_ key: ObjectKey, version: String?) throws(MetadataError) {
        try guarded { _, statements throws(DatabaseError) in
            try statements.dropRestore.bind(key.bytes, at: 1)
            try statements.dropRestore.bind(version ?? "", at: 2)
            try statements.dropRestore.run()
        }
    }

    /// All restores that are remembered. Asked at the mount, which a damaged file must not prevent: once it has been
    /// replaced, those that could be kept are read from the new one.
    package func restores() throws(MetadataError) -> [RestoreRow] {
        do throws(MetadataError) {
            return try guarded { connection, _ throws(DatabaseError) in try Self.readRestores(connection) }
        } catch {
            guard case .database(let cause) = error, cause.isCorrupt else { throw error }
            return try guarded { connection, _ throws(DatabaseError) in try Self.readRestores(connection) }
        }
    }

    private func durably(
        _ body: (WriteStatements) throws(DatabaseError) -> Void
    ) throws(MetadataError) {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.setSynchronous(.full)
            do throws(DatabaseError) {
                try body(statements)
            } catch {
                try? connection.setSynchronous(.normal)
                throw error
            }
            try connection.setSynchronous(.normal)
        }
    }

    private static func put(_ row: RestoreRow, _ statement: Statement) throws(DatabaseError) {
        try statement.bind(row.key.bytes, at: 1)
        try statement.bind(row.version ?? "", at: 2)
        try statement.bind(row.state.rawValue, at: 3)
        try statement.bind(row.storageClass.name, at: 4)
        try statement.bind(row.order.tier?.rawValue, at: 5)
        try statement.bind(row.order.days.map(Int64.init), at: 6)
        try statement.bind(row.requestedAt.nanoseconds, at: 7)
        try statement.bind(row.moreDays.map(Int64.init), at: 8)
        try statement.run()
    }

    private static func readRestores(_ connection: Connection) throws(DatabaseError) -> [RestoreRow] {
        let query = try connection.prepare("SELECT key, version, state, class, tier, days, requested_at, more_days FROM restore")
        var rows: [RestoreRow] = []
        while try query.step() {
            let version = query.text(1)
            rows.append(
                RestoreRow(
                    key: ObjectKey(query.blob(0)), version: version.isEmpty ? nil : version,
                    state: RestoreRow.State(rawValue: query.int64(2)) ?? .asking,
                    storageClass: StorageClass(query.text(3)),
                    order: RestoreOrder(
                        days: query.isNull(5) ? nil : Int(query.int64(5)),
                        tier: query.isNull(4) ? nil : RestoreTier(rawValue: query.text(4))),
                    requestedAt: Timestamp(nanoseconds: query.int64(6)),
                    moreDays: query.isNull(7) ? nil : Int(query.int64(7))))
        }
        return rows
    }
}
