import Database
import Foundation
import Synchronization
import Testing

/// A directory of its own for one test, removed when the test ends.
func withDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
        "thawfs-\(UUID().uuidString)"
    )
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    return try body(directory.path)
}

func count(_ connection: Connection, _ table: String = "t") throws -> Int64 {
    let statement = try connection.prepare("SELECT count(*) FROM \(table)")
    #expect(try statement.step())
    return statement.int64(0)
}

@Suite struct ConnectionTests {
    @Test("a transaction that throws leaves nothing behind, and the connection usable")
    func rollback() throws {
        let connection = try Connection(.memory)
        try connection.execute("CREATE TABLE t (x UNIQUE)")
        try connection.transaction { () throws(DatabaseError) in
            try connection.execute("INSERT INTO t VALUES (1)")
        }

        let error = #expect(throws: DatabaseError.self) {
            try connection.transaction { () throws(DatabaseError) in
                try connection.execute("INSERT INTO t VALUES (2)")
                try connection.execute("INSERT INTO t VALUES (1)")
            }
        }
        #expect(error?.code == 2067, "SQLITE_CONSTRAINT_UNIQUE, the extended code")
        #expect(error?.sql == "INSERT INTO t VALUES (1)")
        #expect(try count(connection) == 1)

        let result = try connection.transaction { () throws(DatabaseError) in
            try connection.execute("INSERT INTO t VALUES (3)")
            return "done"
        }
        #expect(result == "done")
        #expect(try count(connection) == 2)
    }

    @Test("a file that is no database, and one damaged inside, are told apart from every other failure")
    func corruption() throws {
        try withDirectory { directory in
            let garbage = directory + "/garbage"
            try Data(repeating: 0x5A, count: 8192).write(to: URL(fileURLWithPath: garbage))
            let notADatabase = #expect(throws: DatabaseError.self) { _ = try Connection(.file(garbage)) }
            #expect(notADatabase?.isCorrupt == true)

            var readOnly = Connection.Options()
            readOnly.isReadOnly = true
            let readOnlyError = #expect(throws: DatabaseError.self) {
                _ = try Connection(.file(garbage), options: readOnly)
            }
            #expect(readOnlyError?.isCorrupt == true)

            let path = directory + "/damaged"
            try fill(path, rows: 1000)
            #expect(try Connection(.file(path)).quickCheck() == [])
            var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            bytes.replaceSubrange(4096..<bytes.count, with: Data(repeating: 0xFF, count: bytes.count - 4096))
            try bytes.write(to: URL(fileURLWithPath: path))
            let damaged = try Connection(.file(path))
            #expect(try damaged.quickCheck() != [])
            let error = #expect(throws: DatabaseError.self) { try damaged.execute("SELECT * FROM t") }
            #expect(error?.isCorrupt == true)
        }
    }

    private func fill(_ path: String, rows: Int) throws {
        let connection = try Connection(.file(path))
        try connection.execute("CREATE TABLE t (x)")
        try connection.transaction { () throws(DatabaseError) in
            let insert = try connection.prepare("INSERT INTO t VALUES (?1)")
            for row in 0..<rows {
                try insert.bind("row \(row) of a table that fills more than one page", at: 1)
                try insert.run()
            }
        }
        try connection.checkpoint()
    }

    @Test("a reader sees only what the writer has committed, and goes on while the writer writes")
    func writeAheadLog() throws {
        try withDirectory { directory in
            let path = directory + "/db"
            let writer = try Connection(.file(path))
            try writer.execute("CREATE TABLE t (x)")
            var options = Connection.Options()
            options.isReadOnly = true
            let reader = try Connection(.file(path), options: options)

            try writer.transaction { () throws(DatabaseError) in
                try writer.execute("INSERT INTO t VALUES (1)")
                let select = try reader.prepare("SELECT x FROM t")
                let isVisible = try select.step()
                #expect(!isVisible)
            }
            #expect(try count(reader) == 1)

            let error = #expect(throws: DatabaseError.self) { try reader.execute("DELETE FROM t") }
            #expect(error?.isReadOnly == true)
            #expect(error?.isCorrupt == false)
        }
    }

    @Test("a second writer is told that the database is busy")
    func busy() throws {
        try withDirectory { directory in
            var options = Connection.Options()
            options.busyTimeout = .zero
            let first = try Connection(.file(directory + "/db"), options: options)
            let second = try Connection(.file(directory + "/db"), options: options)
            try first.execute("CREATE TABLE t (x)")
            try first.transaction { () throws(DatabaseError) in
                let error = #expect(throws: DatabaseError.self) { try second.execute("BEGIN IMMEDIATE") }
                #expect(error?.isBusy == true)
            }
            try second.transaction { () throws(DatabaseError) in
                try second.execute("INSERT INTO t VALUES (1)")
            }
            #expect(try count(first) == 1)
        }
    }

    @Test("a database at its size limit says that it is full, and the transaction is undone")
    func full() throws {
        let connection = try Connection(.memory)
        try connection.execute("CREATE TABLE t (x); PRAGMA max_page_count = 20")
        let error = #expect(throws: DatabaseError.self) {
            try connection.transaction { () throws(DatabaseError) in
                let insert = try connection.prepare("INSERT INTO t VALUES (zeroblob(4096))")
                for _ in 0..<100 { try insert.run() }
            }
        }
        #expect(error?.isFull == true)
        #expect(try count(connection) == 0)
        try connection.transaction { () throws(DatabaseError) in
            try connection.execute("INSERT INTO t VALUES (1)")
        }
        #expect(try count(connection) == 1)
    }

    @Test("a checkpoint empties the log into the file; a reader in the middle of its rows makes it busy")
    func checkpoint() throws {
        try withDirectory { directory in
            let path = directory + "/db"
            var options = Connection.Options()
            options.busyTimeout = .zero
            let writer = try Connection(.file(path), options: options)
            try writer.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)")
            let log = { try FileManager.default.attributesOfItem(atPath: path + "-wal")[.size] as? Int }
            #expect(try log() != 0)
            try writer.checkpoint()
            #expect(try log() == 0)

            let reader = try Connection(.file(path), options: options)
            let select = try reader.prepare("SELECT x FROM t")
            #expect(try select.step())
            try writer.execute("INSERT INTO t VALUES (3)")
            let error = #expect(throws: DatabaseError.self) { try writer.checkpoint() }
            #expect(error?.isBusy == true)
            select.reset()
            try writer.checkpoint()
            #expect(try log() == 0)
        }
    }

    @Test("the schema version and the committed rows outlive the connection")
    func persistence() throws {
        try withDirectory { directory in
            let path = directory + "/db"
            do {
                let connection = try Connection(.file(path))
                #expect(try connection.userVersion == 0)
                try connection.setSynchronous(.full)
                try connection.transaction { () throws(DatabaseError) in
                    try connection.execute("CREATE TABLE t (x)")
                    try connection.execute("INSERT INTO t VALUES (1), (2), (3)")
                    try connection.setUserVersion(7)
                }
                #expect(connection.changes == 3)
                #expect(connection.lastInsertRowID == 3)
            }
            let again = try Connection(.file(path))
            #expect(try again.userVersion == 7)
            #expect(try count(again) == 3)
        }
    }

    @Test("a directory that does not exist is an error with SQLite's words, not corruption")
    func cannotOpen() {
        let error = #expect(throws: DatabaseError.self) {
            _ = try Connection(.file("/nonexistent/thawfs/db"))
        }
        #expect(error?.message == "unable to open database file (No such file or directory)")
        #expect(error?.isCorrupt == false)
    }

    @Test("a connection and its statements can be shared between threads behind one mutex")
    func behindMutex() async throws {
        struct Table {
            let connection: Connection
            let insert: Statement
            init() throws(DatabaseError) {
                connection = try Connection(.memory)
                try connection.execute("CREATE TABLE t (x)")
                insert = try connection.prepare("INSERT INTO t VALUES (?1)")
            }
        }
        final class Shared: Sendable {
            let table: Mutex<Table>
            init() throws(DatabaseError) { table = Mutex(try Table()) }
            func add(_ value: Int) throws(DatabaseError) {
                try table.withLock { table throws(DatabaseError) in
                    try table.insert.bind(value, at: 1)
                    try table.insert.run()
                }
            }
            func sum() throws(DatabaseError) -> Int64 {
                try table.withLock { table throws(DatabaseError) in
                    let select = try table.connection.prepare("SELECT sum(x) FROM t")
                    return try select.step() ? select.int64(0) : -1
                }
            }
        }
        let shared = try Shared()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for value in 1...100 { group.addTask { try shared.add(value) } }
            try await group.waitForAll()
        }
        #expect(try shared.sum() == 5050)
    }
}
