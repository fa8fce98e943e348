// SQLite connections and prepared statements.
//
// `Connection` and `Statement` are not `Sendable`: the compiler keeps a connection, and everything prepared on it,
// on one thread at a time, which is what SQLITE_OPEN_NOMUTEX asks for. Keep both in one value behind a `Mutex`, or
// let one thread own them. A file is in WAL mode: any number of connections may read while one writes.
// Every call may block on the disk, and up to the busy timeout on another connection's lock: never make one on the
// Swift pool. No other module may import CSQLite.

internal import CSQLite
internal import ThawCore

/// What SQLite answered instead of doing it.
package struct DatabaseError: Error, Equatable, Sendable {
    /// SQLite's extended result code; the low byte is the primary code. <https://www.sqlite.org/rescode.html>
    package let code: Int32
    /// SQLite's words.
    package let message: String
    /// The statement that failed, nil when none was running.
    package let sql: String?

    /// The file is damaged, or is no database. Nothing in it can be trusted.
    package var isCorrupt: Bool { primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB }
    /// Another connection held a lock for longer than the busy timeout.
    package var isBusy: Bool { primary == SQLITE_BUSY || primary == SQLITE_LOCKED }
    /// The disk, or the largest size the database may have, is full.
    package var isFull: Bool { primary == SQLITE_FULL }
    /// The disk failed, or refused this user more of it.
    package var isDiskFault: Bool { primary == SQLITE_IOERR }
    /// The file, its directory or the connection does not allow writing.
    package var isReadOnly: Bool { primary == SQLITE_READONLY }

    private var primary: Int32 { code & 0xFF }

    package init(code: Int32, message: String, sql: String?) {
        self.code = code
        self.message = message
        self.sql = sql
    }

    /// The error that `handle` reports for its latest call, or the code's standard words without a handle.
    init(code: Int32, handle: OpaquePointer?, sql: String?) {
        let words = handle.flatMap { sqlite3_errmsg($0) } ?? sqlite3_errstr(code)
        var message = words.map { String(cString: $0) } ?? "unknown error"
        // “disk I/O error” alone tells nobody what to do.
        let system = handle.map { sqlite3_system_errno($0) } ?? 0
        if [SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_FULL].contains(code & 0xFF), system != 0 {
            message += " (\(errorText(system)))"
        }
        self.init(code: code, message: message, sql: sql)
    }
}

extension DatabaseError: CustomStringConvertible {
    package var description: String {
        let context = sql.map { " in: \($0)" } ?? ""
        return "SQLite error \(code): \(message)\(context)"
    }
}
