import Database
import Testing

@Suite struct StatementTests {
    @Test("every type comes back as it was bound, at its extremes too")
    func roundTrip() throws {
        let connection = try Connection(.memory)
        let echo = try connection.prepare("SELECT ?1, typeof(?1)")

        func echoed<Value>(
            _ type: String,
            bind: (Statement) throws -> Void,
            read: (Statement) -> Value
        ) throws -> Value {
            try bind(echo)
            defer { echo.reset() }
            #expect(try echo.step())
            #expect(echo.text(1) == type)
            return read(echo)
        }

        for value in [Int64.min, -1, 0, Int64.max] {
            #expect(
                try echoed("integer", bind: { try $0.bind(value, at: 1) }, read: { $0.int64(0) }) == value
            )
        }
        for value in [UInt64.min, 1 << 63, UInt64.max] {
            #expect(
                try echoed("integer", bind: { try $0.bind(value, at: 1) }, read: { $0.uint64(0) }) == value
            )
        }
        #expect(try echoed("integer", bind: { try $0.bind(42, at: 1) }, read: { $0.int64(0) }) == 42)
        for value in [-0.5, Double.leastNonzeroMagnitude, Double.greatestFiniteMagnitude] {
            #expect(try echoed("real", bind: { try $0.bind(value, at: 1) }, read: { $0.double(0) }) == value)
        }
        for value in ["", "plain", "é漢字🧊", "zero\0inside", String(repeating: "long ", count: 10_000)] {
            #expect(try echoed("text", bind: { try $0.bind(value, at: 1) }, read: { $0.text(0) }) == value)
        }
        for value in [[], Array(UInt8.min...UInt8.max), [UInt8](repeating: 7, count: 100_000)] {
            #expect(try echoed("blob", bind: { try $0.bind(value, at: 1) }, read: { $0.blob(0) }) == value)
            let raw = try value.withUnsafeBytes { bytes in
                try echoed(
                    "blob",
                    bind: { try $0.bind(bytes, at: 1) },
                    read: { $0.withBlob(0) { [UInt8]($0) } }
                )
            }
            #expect(raw == value)
        }
        let none: [UInt8]? = nil
        #expect(try echoed("null", bind: { try $0.bind(none, at: 1) }, read: { $0.isNull(0) }))
        #expect(try echoed("null", bind: { try $0.bindNull(at: 1) }, read: { $0.blob(0).isEmpty }))
    }

    @Test("a statement runs again after its end, keeping parameters until they are bound anew or reset")
    func reuse() throws {
        let connection = try Connection(.memory)
        try connection.execute("CREATE TABLE t (x, y)")
        let insert = try connection.prepare("INSERT INTO t VALUES (?1, ?2)")
        try insert.bind("kept", at: 2)
        for value in 1...3 {
            try insert.bind(value, at: 1)
            try insert.run()
        }
        insert.reset()
        try insert.run()

        let select = try connection.prepare("SELECT x, y FROM t WHERE rowid > ?1 ORDER BY rowid")
        var rows: [String] = []
        for start in [0, 2] {
            try select.bind(start, at: 1)
            while try select.step() {
                rows.append("\(select.int64(0)) \(select.text(1)) \(select.isNull(1))")
            }
        }
        #expect(
            rows == [
                "1 kept false", "2 kept false", "3 kept false", "0  true",
                "3 kept false", "0  true",
            ]
        )
    }

    @Test("a statement is ready again after an error")
    func afterError() throws {
        let connection = try Connection(.memory)
        try connection.execute("CREATE TABLE t (x UNIQUE)")
        let insert = try connection.prepare("INSERT INTO t VALUES (?1)")
        try insert.bind(1, at: 1)
        try insert.run()
        #expect(throws: DatabaseError.self) { try insert.run() }
        try insert.bind(2, at: 1)
        try insert.run()
        #expect(try count(connection) == 2)
    }

    @Test("a statement keeps its connection open")
    func lifetime() throws {
        let statement = try Connection(.memory).prepare("SELECT 1")
        #expect(try statement.step())
        #expect(statement.int64(0) == 1)
    }

    @Test("a statement that does not compile says why and which")
    func syntax() throws {
        let connection = try Connection(.memory)
        let error = #expect(throws: DatabaseError.self) { _ = try connection.prepare("SELEC 1") }
        #expect(error?.message == "near \"SELEC\": syntax error")
        #expect(error?.sql == "SELEC 1")
    }
}
