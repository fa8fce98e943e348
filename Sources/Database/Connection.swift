internal import CSQLite

/// One open database, closed when the connection and the last of its statements are gone.
///
/// Not `Sendable`; see the module's comment for how to share one.
package final class Connection {
    package enum Location: Sendable {
        /// Created if absent, unless opened read-only.
        case file(String)
        /// Private to this connection and gone with it.
        case memory
    }

    /// What a commit has survived when it returns. <https://www.sqlite.org/pragma.html#pragma_synchronous>
    package enum Synchronous: String, Sendable {
        /// A crash of the process; a power loss may undo the latest commits, never corrupt the file.
        case normal = "NORMAL"
        /// A power loss too: one more fsync for each commit.
        case full = "FULL"
    }

    /// What undoes a transaction that came to no end. <https://www.sqlite.org/pragma.html#pragma_journal_mode>
    package enum Journal: Sendable {
        /// A file beside the database; others may read while one writes.
        case writeAhead
        /// The pages that a transaction changes, in memory: for a file that dies with the process. Nothing is synced.
        case memory
        /// Nothing, and no sync: for a file that is thrown away unless it comes to its end.
        case none
    }

    package struct Options: Sendable {
        package var isReadOnly = false
        package var synchronous = Synchronous.normal
        /// How long a call waits for another connection's lock before it fails with `isBusy`. Whole milliseconds.
        package var busyTimeout: Duration = .seconds(5)
        /// Ceiling of this connection's page cache.
        package var cacheSizeBytes = 8 << 20
        package var journal = Journal.writeAhead
        package init() {}
    }

    let handle: OpaquePointer

    /// Opens the database in WAL mode with foreign keys off. A file that is no database fails here with `isCorrupt`.
    /// The corresponding C function is `sqlite3_open_v2`.
    package init(_ location: Location, options: Options = Options()) throws(DatabaseError) {
        let path =
            switch location {
            case .file(let path): path
            case .memory: ":memory:"
            }
        let access = options.isReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(path, &opened, access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard code == SQLITE_OK, let opened else {
            let error = DatabaseError(code: code, handle: opened, sql: nil)
            sqlite3_close_v2(opened)
            throw error
        }
        handle = opened
        try configure(location, options)
    }

    deinit {
        // The v2 form leaves a connection with live statements open until the last of them is finalised.
        sqlite3_close_v2(handle)
    }

    /// Runs every statement in `sql`, dropping the rows they give.
    package func execute(_ sql: String) throws(DatabaseError) {
        try check(sqlite3_exec(handle, sql, nil, nil, nil), sql)
    }

    /// Compiles the one statement in `sql`, for use as often as wanted.
    package func prepare(_ sql: String) throws(DatabaseError) -> Statement {
        try Statement(connection: self, sql: sql)
    }

    /// Runs `body` between BEGIN IMMEDIATE and COMMIT; rolls back if either throws. Does not nest.
    package func transaction<Result>(
        _ body: () throws(DatabaseError) -> Result
    ) throws(DatabaseError) -> Result {
        try execute("BEGIN IMMEDIATE")
        do throws(DatabaseError) {
            let result = try body()
            try execute("COMMIT")
            return result
        } catch {
            // After some errors (disk full, I/O) SQLite has rolled back by itself. A rollback that fails says
            // nothing that `error` does not.
            if sqlite3_get_autocommit(handle) == 0 { try? execute("ROLLBACK") }
            throw error
        }
    }

    /// Rows that the latest INSERT, UPDATE or DELETE touched.
    package var changes: Int { Int(sqlite3_changes64(handle)) }

    /// The rowid of the latest INSERT into a table that has rowids; 0 before the first.
    package var lastInsertRowID: Int64 { sqlite3_last_insert_rowid(handle) }

    /// The schema's version as the application counts it; 0 in a new database.
    package var userVersion: Int32 {
        get throws(DatabaseError) {
            let statement = try prepare("PRAGMA user_version")
            return try statement.step() ? Int32(truncatingIfNeeded: statement.int64(0)) : 0
        }
    }

    /// Part of the surrounding transaction, if there is one.
    package func setUserVersion(_ version: Int32) throws(DatabaseError) {
        try execute("PRAGMA user_version = \(version)")
    }

    /// A number that the file keeps, 0 at first.
    package var applicationID: Int32 {
        get throws(DatabaseError) {
            let statement = try prepare("PRAGMA application_id")
            return try statement.step() ? Int32(truncatingIfNeeded: statement.int64(0)) : 0
        }
    }

    /// Part of the surrounding transaction, if there is one.
    package func setApplicationID(_ number: Int32) throws(DatabaseError) {
        try execute("PRAGMA application_id = \(number)")
    }

    /// Takes effect with the next transaction; not allowed inside one.
    package func setSynchronous(_ synchronous: Synchronous) throws(DatabaseError) {
        precondition(sqlite3_get_autocommit(handle) != 0, "setSynchronous inside a transaction")
        try execute("PRAGMA synchronous = \(synchronous.rawValue)")
    }

    /// Moves the whole write-ahead log into the database file and empties it. Fails with `isBusy` when readers
    /// keep part of the log in use for longer than the busy timeout; nothing is lost then.
    package func checkpoint() throws(DatabaseError) {
        try check(sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil), nil)
    }

    /// What is wrong with the file's structure, in SQLite's words; empty when nothing is. Reads the whole file.
    package func quickCheck() throws(DatabaseError) -> [String] {
        let statement = try prepare("PRAGMA quick_check")
        var problems: [String] = []
        do throws(DatabaseError) {
            while try statement.step() {
                let line = statement.text(0)
                if line != "ok" { problems.append(line) }
            }
        } catch {
            // Some damage ends the check itself.
            guard error.isCorrupt else { throw error }
            problems.append(error.message)
        }
        return problems
    }

    private func configure(_ location: Location, _ options: Options) throws(DatabaseError) {
        let milliseconds = options.busyTimeout / .milliseconds(1)
        try check(sqlite3_busy_timeout(handle, Int32(min(max(milliseconds, 0), Double(Int32.max)))), nil)
        // A negative cache size is in KiB, a positive one in pages.
        try execute("PRAGMA cache_size = -\(max(options.cacheSizeBytes >> 10, 1))")
        try execute("PRAGMA foreign_keys = OFF")
        try execute("PRAGMA synchronous = \(options.synchronous.rawValue)")
        switch options.journal {
        case .none: try execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        case .memory: try execute("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")
        case .writeAhead:
            if options.isReadOnly {
                // The mode is the file's and cannot be changed here; reading it is what shows that this is a database.
                try execute("PRAGMA schema_version")
            } else if case .file = location {
                try enterWAL()
            }
        }
    }

    private func enterWAL() throws(DatabaseError) {
        let sql = "PRAGMA journal_mode = WAL"
        let statement = try prepare(sql)
        let mode = try statement.step() ? statement.text(0) : ""
        guard mode == "wal" else {
            // SQLite answers the mode it stays in, for instance where shared memory does not work.
            throw DatabaseError(code: SQLITE_CANTOPEN, message: "no write-ahead log, only \(mode)", sql: sql)
        }
    }

    private func check(_ code: Int32, _ sql: String?) throws(DatabaseError) {
        guard code == SQLITE_OK else { throw DatabaseError(code: code, handle: handle, sql: sql) }
    }
}
