internal import Database
package import ThawCore

/// Reads of the metadata store, on the `db-reader` thread, over a connection of their own: WAL lets them go on while
/// the writer commits.
package actor MetadataReader {
    private let executor: ThreadExecutor
    private var connection: ReaderConnection
    /// What is answered without coming here.
    package nonisolated let glance: MetadataGlance

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens nothing yet; the file must have been made by a `MetadataWriter`.
    package init(path: String, executor: ThreadExecutor) {
        self.executor = executor
        connection = ReaderConnection(path)
        glance = MetadataGlance(path)
    }

    /// How far the directory is known.
    package func state(of prefix: ObjectKey) throws(MetadataError) -> ListingState {
        try guarded { statements throws(DatabaseError) in try statements.state(of: prefix) }
    }

    /// The rows of these segments, as far as there are any.
    package func rows(_ segments: [[UInt8]], below prefix: ObjectKey) throws(MetadataError) -> [MetadataRow] {
        try guarded { statements throws(DatabaseError) in try statements.rows(segments, below: prefix) }
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
        _ body: (ReaderStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        try connection.guarded(body)
    }
}
