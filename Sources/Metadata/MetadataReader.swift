internal import Database
internal import Glibc
package import ThawCore

/// Reads of the metadata store, on the `db-reader` thread, over a connection of their own: WAL lets them go on while
/// the writer commits.
package actor MetadataReader {
    private let path: String
    private let executor: ThreadExecutor
    private var opened: (file: FileIdentity, statements: Statements)?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens nothing yet; the file must have been made by a `MetadataWriter`.
    package init(path: String, executor: ThreadExecutor) {
        self.path = path
        self.executor = executor
    }

    /// How far the directory is known.
    package func state(of prefix: ObjectKey) throws(MetadataError) -> ListingState {
        try guarded { statements throws(DatabaseError) in
            let query = statements.state
            try query.bind(prefix.bytes, at: 1)
            defer { query.reset() }
            guard try query.step() else { return .none }
            return ListingState(
                listing: query.int64(0), startedAt: Timestamp(nanoseconds: query.int64(1)),
                listedAt: Timestamp(nanoseconds: query.int64(2)))
        }
    }

    /// The rows of these segments, as far as there are any.
    package func rows(_ segments: [[UInt8]], below prefix: ObjectKey) throws(MetadataError) -> [MetadataRow] {
        try guarded { statements throws(DatabaseError) in
            var rows: [MetadataRow] = []
            for segment in segments {
                try statements.row.bind(prefix.bytes, at: 1)
                try statements.row.bind(segment, at: 2)
                defer { statements.row.reset() }
                if try statements.row.step() { rows.append(statements.row.metadataRow()) }
            }
            return rows
        }
    }

    /// Present entries after `segment` (nil: from the first), in listing order: those that this listing saw, or a
    /// lookup since it began.
    package func page(
        below prefix: ObjectKey, state: ListingState, after segment: [UInt8]?, limit: Int
    ) throws(MetadataError) -> [MetadataRow] {
        try guarded { statements throws(DatabaseError) in
            let query = segment == nil ? statements.firstPage : statements.nextPage
            try query.bind(prefix.bytes, at: 1)
            try query.bind(state.listing, at: 2)
            try query.bind(state.startedAt.nanoseconds, at: 3)
            try query.bind(Int64(limit), at: 4)
            if let segment { try query.bind(segment, at: 5) }
            defer { query.reset() }
            var rows: [MetadataRow] = []
            rows.reserveCapacity(limit)
            while try query.step() { rows.append(query.metadataRow()) }
            return rows
        }
    }

    func guarded<Result>(
        _ body: (Statements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        // The writer may have set a damaged file aside: its name stands for another then.
        let file = FileIdentity(path)
        do throws(DatabaseError) {
            if let opened, opened.file == file { return try body(opened.statements) }
            var options = Connection.Options()
            options.isReadOnly = true
            let statements = try Statements(Connection(.file(path), options: options))
            opened = (file, statements)
            return try body(statements)
        } catch {
            opened = nil
            throw .database(error)
        }
    }

    private struct FileIdentity: Equatable {
        private let device: dev_t
        private let inode: ino_t

        init(_ path: String) {
            var status = stat()
            let isThere = stat(path, &status) == 0
            device = isThere ? status.st_dev : 0
            inode = isThere ? status.st_ino : 0
        }
    }

    struct Statements {
        let connection: Connection
        let restore: Statement
        let state: Statement
        let row: Statement
        let firstPage: Statement
        let nextPage: Statement

        init(_ connection: Connection) throws(DatabaseError) {
            self.connection = connection
            restore = try connection.prepare("SELECT \(restoreColumns) FROM restore WHERE key = ?1 AND version = ?2")
            let directory = "(SELECT id FROM directory WHERE prefix = ?1)"
            let seen = "kind <> 0 AND (listing = ?2 OR checked_at >= ?3)"
            state = try connection.prepare("SELECT listing, started_at, listed_at FROM directory WHERE prefix = ?1")
            row = try connection.prepare(
                "SELECT \(entryColumns) FROM entry WHERE directory = \(directory) AND segment = ?2")
            firstPage = try connection.prepare(
                "SELECT \(entryColumns) FROM entry WHERE directory = \(directory) AND \(seen) ORDER BY segment LIMIT ?4")
            nextPage = try connection.prepare(
                """
                SELECT \(entryColumns) FROM entry WHERE directory = \(directory) AND segment > ?5 AND \(seen)
                ORDER BY segment LIMIT ?4
                """)
        }
    }
}
