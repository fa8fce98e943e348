import Database
import Synchronization
import ThawCore
import Wire

/// Everything the emulator knows but the bytes of bodies: buckets, versions, uploads, in SQLite.
///
/// One connection behind a lock. Take it for as long as rows are read or written, never while a body moves.
final class Catalog: Sendable {
    private let tables: Mutex<CatalogTables>

    /// - Parameter path: the database's file, created if absent; nil keeps everything in memory.
    init(path: String?) throws(DatabaseError) {
        let connection = try Connection(path.map { .file($0) } ?? .memory)
        tables = Mutex(try CatalogTables(connection))
    }

    /// Runs `body` with the tables to itself, in one transaction: all of it happens or nothing.
    func perform<Result: Sendable>(
        _ body: (CatalogTables) throws(ProviderError) -> Result
    ) throws(ProviderError) -> Result {
        try tables.withLock { tables throws(ProviderError) in
            try tables.execute("BEGIN IMMEDIATE")
            do throws(ProviderError) {
                let result = try body(tables)
                try tables.execute("COMMIT")
                return result
            } catch {
                try tables.execute("ROLLBACK")
                throw error
            }
        }
    }
}

/// The tables. Confined to whoever holds the catalog's lock.
///
///     settings   name, value: the virtual clock
///     buckets    one row a bucket
///     configurations  documents of a bucket, by kind and id
///     versions   one row a version or delete marker; the first of a key in order is its current version
///     blobs      uploaded bodies and how many segments refer to each
///     uploads    multipart uploads that are open, and their parts
///     vaults, archives, archive_uploads, archive_parts, jobs   of OAS
///
/// Times are nanoseconds since the epoch.
final class CatalogTables {
    private let connection: Connection
    private var prepared: [String: Statement] = [:]

    init(_ connection: Connection) throws(DatabaseError) {
        self.connection = connection
        try connection.execute(Self.schema + Self.vaultSchema)
        // Data of an emulator that did not keep it.
        let column = try connection.prepare("SELECT 1 FROM pragma_table_info('parts') WHERE name = 'nvme'")
        if try !column.step() { try connection.execute("ALTER TABLE parts ADD COLUMN nvme INTEGER") }
        let locks = try connection.prepare("SELECT 1 FROM pragma_table_info('buckets') WHERE name = 'locks'")
        if try !locks.step() {
            try connection.execute(
                """
                ALTER TABLE buckets ADD COLUMN locks INTEGER NOT NULL DEFAULT 0;
                ALTER TABLE buckets ADD COLUMN location TEXT;
                ALTER TABLE buckets ADD COLUMN root_key TEXT;
                """)
        }
    }

    private static let schema = """
        CREATE TABLE IF NOT EXISTS settings(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS buckets(
            id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, created INTEGER NOT NULL, class TEXT NOT NULL,
            versioning TEXT NOT NULL, direct_read INTEGER NOT NULL, locks INTEGER NOT NULL DEFAULT 0,
            location TEXT, root_key TEXT);
        CREATE TABLE IF NOT EXISTS configurations(
            bucket INTEGER NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
            PRIMARY KEY(bucket, name, id)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS versions(
            bucket INTEGER NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL, version TEXT NOT NULL,
            marker INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified INTEGER NOT NULL,
            class TEXT NOT NULL, archive_status TEXT, ready INTEGER, expiry INTEGER, tier TEXT, fails INTEGER,
            crc64 INTEGER, headers TEXT NOT NULL, content TEXT NOT NULL,
            PRIMARY KEY(bucket, key, sequence DESC)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS blobs(id INTEGER PRIMARY KEY AUTOINCREMENT, refs INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS uploads(
            id TEXT PRIMARY KEY, bucket INTEGER NOT NULL, key BLOB NOT NULL, initiated INTEGER NOT NULL,
            class TEXT NOT NULL, headers TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS parts(
            upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
            crc64 INTEGER, modified INTEGER NOT NULL, content TEXT NOT NULL, nvme INTEGER,
            PRIMARY KEY(upload, number)) WITHOUT ROWID;
        """

    func execute(_ sql: String) throws(ProviderError) {
        try sqlite { () throws(DatabaseError) in try connection.execute(sql) }
    }

    var changes: Int { connection.changes }
    var lastInsertRowID: Int64 { connection.lastInsertRowID }

    /// The statement of this text, compiled once, with its parameters bound in order.
    func statement(_ sql: String, _ parameters: [Parameter] = []) throws(ProviderError) -> Statement {
        try sqlite { () throws(DatabaseError) in
            let statement: Statement
            if let known = prepared[sql] {
                statement = known
                statement.reset()
            } else {
                statement = try connection.prepare(sql)
                prepared[sql] = statement
            }
            for (index, parameter) in parameters.enumerated() {
                try parameter.bind(to: statement, at: index + 1)
            }
            return statement
        }
    }

    func run(_ sql: String, _ parameters: [Parameter] = []) throws(ProviderError) {
        let statement = try statement(sql, parameters)
        try sqlite { () throws(DatabaseError) in try statement.run() }
    }

    /// What `read` makes of each row.
    func rows<Row>(
        _ sql: String,
        _ parameters: [Parameter] = [],
        _ read: (Statement) throws(ProviderError) -> Row
    ) throws(ProviderError) -> [Row] {
        let statement = try statement(sql, parameters)
        defer { statement.reset() }
        var rows: [Row] = []
        while try step(statement) { rows.append(try read(statement)) }
        return rows
    }

    /// The first row only.
    func row<Row>(
        _ sql: String,
        _ parameters: [Parameter] = [],
        _ read: (Statement) throws(ProviderError) -> Row
    ) throws(ProviderError) -> Row? {
        let statement = try statement(sql, parameters)
        defer { statement.reset() }
        return try step(statement) ? try read(statement) : nil
    }

    func step(_ statement: Statement) throws(ProviderError) -> Bool {
        try sqlite { () throws(DatabaseError) in try statement.step() }
    }

    private func sqlite<Result>(_ body: () throws(DatabaseError) -> Result) throws(ProviderError) -> Result {
        do {
            return try body()
        } catch {
            throw .internalError(error.description)
        }
    }

    // MARK: - Settings

    func setting(_ name: String) throws(ProviderError) -> String? {
        try row("SELECT value FROM settings WHERE name = ?1", [.text(name)]) { $0.text(0) }
    }

    func setSetting(_ name: String, _ value: String) throws(ProviderError) {
        try run("INSERT OR REPLACE INTO settings VALUES(?1, ?2)", [.text(name), .text(value)])
    }
}

/// A value bound to a statement.
enum Parameter {
    case int(Int64?)
    case text(String?)
    case blob([UInt8])

    static func time(_ time: Timestamp?) -> Parameter { .int(time?.nanoseconds) }

    fileprivate func bind(to statement: Statement, at index: Int) throws(DatabaseError) {
        switch self {
        case .int(let value): try statement.bind(value, at: index)
        case .text(let value): try statement.bind(value, at: index)
        case .blob(let value): try statement.bind(value, at: index)
        }
    }
}
