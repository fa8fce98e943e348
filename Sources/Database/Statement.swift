internal import CSQLite

/// One compiled statement: bind, `step` until false, then bind again. Finalised when it goes away.
///
/// A parameter keeps its value until it is bound anew or `reset` clears it. A statement left in the middle of its
/// rows holds a read lock: call `reset`. Not `Sendable`; it lives where its connection lives.
package final class Statement {
    package let sql: String

    private let handle: OpaquePointer
    /// Keeps the connection open; also where SQLite leaves its error messages.
    private let connection: Connection

    init(connection: Connection, sql: String) throws(DatabaseError) {
        var prepared: OpaquePointer?
        var isSingle = true
        let code = sql.withCString { text in
            var rest: UnsafePointer<CChar>?
            let code = sqlite3_prepare_v3(
                connection.handle,
                text,
                -1,
                UInt32(SQLITE_PREPARE_PERSISTENT),
                &prepared,
                &rest
            )
            if let rest { isSingle = rest.pointee == 0 }
            return code
        }
        guard code == SQLITE_OK else { throw DatabaseError(code: code, handle: connection.handle, sql: sql) }
        guard let prepared, isSingle else { preconditionFailure("not exactly one statement: \(sql)") }
        self.handle = prepared
        self.connection = connection
        self.sql = sql
    }

    deinit { sqlite3_finalize(handle) }

    /// Goes to the next row: true with a row to read, false at the end, where the statement is ready to be bound and
    /// run again. After an error too it is ready.
    package func step() throws(DatabaseError) -> Bool {
        let code = sqlite3_step(handle)
        if code == SQLITE_ROW { return true }
        if code == SQLITE_DONE {
            sqlite3_reset(handle)
            return false
        }
        let error = DatabaseError(code: code, handle: connection.handle, sql: sql)
        sqlite3_reset(handle)
        precondition(code & 0xFF != SQLITE_MISUSE, error.description)
        throw error
    }

    /// Runs to the end, dropping any rows.
    package func run() throws(DatabaseError) {
        while try step() {}
    }

    /// Abandons the remaining rows and makes every parameter NULL.
    package func reset() {
        // The code is that of the step before, which has been thrown already.
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }
}

// MARK: - Parameters, counted from 1 as in `?1`; nil is NULL, and what is bound is copied.

extension Statement {
    package func bindNull(at index: Int) throws(DatabaseError) {
        try check(sqlite3_bind_null(handle, Int32(index)))
    }

    package func bind(_ value: Int, at index: Int) throws(DatabaseError) {
        try check(sqlite3_bind_int64(handle, Int32(index), Int64(value)))
    }

    package func bind(_ value: Int64?, at index: Int) throws(DatabaseError) {
        guard let value else { return try bindNull(at: index) }
        try check(sqlite3_bind_int64(handle, Int32(index), value))
    }

    /// Stored as the signed integer of the same bits, so SQL compares values from 2^63 up as negative.
    package func bind(_ value: UInt64?, at index: Int) throws(DatabaseError) {
        try bind(value.map { Int64(bitPattern: $0) }, at: index)
    }

    package func bind(_ value: Double?, at index: Int) throws(DatabaseError) {
        guard let value else { return try bindNull(at: index) }
        try check(sqlite3_bind_double(handle, Int32(index), value))
    }

    package func bind(_ value: String?, at index: Int) throws(DatabaseError) {
        guard var value else { return try bindNull(at: index) }
        let code = value.withUTF8 { text in
            text.withMemoryRebound(to: CChar.self) { chars in
                // A null pointer would bind NULL, not the empty text.
                guard let start = chars.baseAddress else {
                    return thaw_sqlite_bind_text(handle, Int32(index), "", 0)
                }
                return thaw_sqlite_bind_text(handle, Int32(index), start, UInt64(chars.count))
            }
        }
        try check(code)
    }

    package func bind(_ value: [UInt8]?, at index: Int) throws(DatabaseError) {
        guard let value else { return try bindNull(at: index) }
        let code = value.withUnsafeBytes { bindBlob($0, index) }
        try check(code)
    }

    package func bind(_ value: UnsafeRawBufferPointer, at index: Int) throws(DatabaseError) {
        try check(bindBlob(value, index))
    }

    /// Text in UTF-8.
    package func bind(text: UnsafeRawBufferPointer, at index: Int) throws(DatabaseError) {
        let start = text.assumingMemoryBound(to: CChar.self).baseAddress
        try check(
            start.map { thaw_sqlite_bind_text(handle, Int32(index), $0, UInt64(text.count)) }
                ?? thaw_sqlite_bind_text(handle, Int32(index), "", 0))
    }

    private func bindBlob(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> Int32 {
        // A null pointer would bind NULL, not the empty blob.
        guard let start = bytes.baseAddress, !bytes.isEmpty else {
            return sqlite3_bind_zeroblob(handle, Int32(index), 0)
        }
        return thaw_sqlite_bind_blob(handle, Int32(index), start, UInt64(bytes.count))
    }

    private func check(_ code: Int32) throws(DatabaseError) {
        guard code == SQLITE_OK else {
            let error = DatabaseError(code: code, handle: connection.handle, sql: sql)
            precondition(code & 0xFF != SQLITE_MISUSE && code & 0xFF != SQLITE_RANGE, error.description)
            throw error
        }
    }
}

// MARK: - Columns, counted from 0. Valid after `step` answered true and until the next `step` or `reset`.

extension Statement {
    package func isNull(_ column: Int) -> Bool {
        sqlite3_column_type(handle, Int32(column)) == SQLITE_NULL
    }

    /// 0 for NULL.
    package func int64(_ column: Int) -> Int64 { sqlite3_column_int64(handle, Int32(column)) }

    /// The bits of the stored integer; what was bound as `UInt64`.
    package func uint64(_ column: Int) -> UInt64 { UInt64(bitPattern: int64(column)) }

    /// 0 for NULL.
    package func double(_ column: Int) -> Double { sqlite3_column_double(handle, Int32(column)) }

    /// Empty for NULL. Bytes that are no UTF-8 are replaced: keep names as blobs.
    package func text(_ column: Int) -> String {
        guard let start = sqlite3_column_text(handle, Int32(column)) else { return "" }
        let count = Int(sqlite3_column_bytes(handle, Int32(column)))
        return String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    }

    /// A copy of the column's bytes; empty for NULL.
    package func blob(_ column: Int) -> [UInt8] { withBlob(column) { [UInt8]($0) } }

    /// Lends SQLite's own bytes to `body`, empty for NULL, without a copy. `body` must not touch this statement.
    package func withBlob<Result, Failure: Error>(
        _ column: Int,
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let start = sqlite3_column_blob(handle, Int32(column))
        let count = Int(sqlite3_column_bytes(handle, Int32(column)))
        return try body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }
}

extension Connection {
    /// All rows of a query that is not asked often.
    package func rows<Row>(_ sql: String, _ read: (Statement) -> Row) throws(DatabaseError) -> [Row] {
        try prepare(sql).all(read)
    }
}

extension Statement {
    package func all<Row>(_ read: (Statement) -> Row) throws(DatabaseError) -> [Row] {
        var rows: [Row] = []
        while try step() { rows.append(read(self)) }
        return rows
    }

    /// The first row; the others are dropped.
    package func first<Row>(_ read: (Statement) -> Row) throws(DatabaseError) -> Row? {
        defer { reset() }
        return try step() ? read(self) : nil
    }
}
