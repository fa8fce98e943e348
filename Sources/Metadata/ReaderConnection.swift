internal import Database
internal import Glibc
internal import ThawCore

/// A connection that only reads: opened when it is used first, and again when the file was replaced.
struct ReaderConnection {
    private let path: String
    private let options: Connection.Options
    private var opened: (file: FileIdentity, statements: ReaderStatements)?

    init(_ path: String, options: Connection.Options = Connection.Options()) {
        self.path = path
        var options = options
        options.isReadOnly = true
        self.options = options
    }

    mutating func guarded<Result>(
        _ body: (ReaderStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        // The writer may have set a damaged file aside: its name stands for another then.
        let file = FileIdentity(path)
        do throws(DatabaseError) {
            if let opened, opened.file == file { return try body(opened.statements) }
            let statements = try ReaderStatements(Connection(.file(path), options: options))
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
}

struct ReaderStatements {
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

    /// How far the directory is known.
    func state(of prefix: ObjectKey) throws(DatabaseError) -> ListingState {
        try state.bind(prefix.bytes, at: 1)
        defer { state.reset() }
        guard try state.step() else { return .none }
        return ListingState(
            listing: state.int64(0), startedAt: Timestamp(nanoseconds: state.int64(1)),
            listedAt: Timestamp(nanoseconds: state.int64(2)))
    }

    /// The rows of these segments, as far as there are any.
    func rows(_ segments: [[UInt8]], below prefix: ObjectKey) throws(DatabaseError) -> [MetadataRow] {
        var rows: [MetadataRow] = []
        for segment in segments {
            try row.bind(prefix.bytes, at: 1)
            try row.bind(segment, at: 2)
            defer { row.reset() }
            if try row.step() { rows.append(row.metadataRow()) }
        }
        return rows
    }
}
