internal import Database
package import ThawCore

/// Reads of the metadata store, on the `db-reader` thread, over a connection of their own: WAL lets them go on while
/// the writer commits.
package actor MetadataReader {
    private let path: String
    private let executor: ThreadExecutor
    private var statements: Statements?

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

    private func guarded<Result>(
        _ body: (Statements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        do throws(DatabaseError) {
            if let statements { return try body(statements) }
            var options = Connection.Options()
            options.isReadOnly = true
            let opened = try Statements(Connection(.file(path), options: options))
            statements = opened
            return try body(opened)
        } catch {
            // The writer may have replaced a damaged file: the next read opens what is there then.
            statements = nil
            throw .database(error)
        }
    }

    private struct Statements {
        let state: Statement
        let row: Statement
        let firstPage: Statement
        let nextPage: Statement

        init(_ connection: Connection) throws(DatabaseError) {
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
