import Testing

@testable import Inventory

@Suite("splitting CSV as it comes")
struct CSVReaderTests {
    private func rows(_ pieces: [[UInt8]]) throws -> [[String]] {
        var reader = CSVReader()
        var rows: [[String]] = []
        for (index, piece) in pieces.enumerated() {
            try reader.feed(piece, isLast: index == pieces.count - 1) { row in
                rows.append(row.fields.indices.map { String(decoding: row[$0], as: UTF8.self) })
            }
        }
        return rows
    }

    private func rows(_ text: String) throws -> [[String]] { try rows([Array(text.utf8)]) }

    @Test(
        "fields are what RFC 4180 says",
        arguments: [
            ("a,b\nc,d\n", [["a", "b"], ["c", "d"]]), ("a,b\r\nc,d", [["a", "b"], ["c", "d"]]),
            ("\"a,\n\",\"\"\n", [["a,\n", ""]]), (",,\n", [["", "", ""]]), ("a,", [["a", ""]]),
            ("\"a\"\r", [["a"]]), ("\n\r\n\na,b\n\n", [["a", "b"]]), ("", []), ("a b,\"ü\"", [["a b", "ü"]]),
        ] as [(String, [[String]])])
    func fields(text: String, expected: [[String]]) throws {
        #expect(try rows(text) == expected)
    }

    @Test("a doubled quote is left as it is, and told")
    func doubled() throws {
        var reader = CSVReader()
        var told: [Bool] = []
        try reader.feed(Array("\"a\"\"b\",\"c\"\n".utf8), isLast: true) { row in
            told = row.fields.map(\.hasDoubledQuotes)
            #expect(String(decoding: row[0], as: UTF8.self) == "a\"\"b")
        }
        #expect(told == [true, false])
    }

    @Test("text that comes in pieces, wherever it is cut, is the same rows")
    func pieces() throws {
        let text = Array("\"a\"\"\",\"b\nc\"\r\nd,\"\"\"\"\n\"e,\",f\r\n".utf8)
        let whole = try rows([text])
        #expect(whole.count == 3)
        for cut in 0...text.count { #expect(try rows([Array(text[..<cut]), Array(text[cut...])]) == whole) }
        #expect(try rows(text.map { [$0] }) == whole)
    }

    @Test("what is no CSV is named with its row", arguments: ["a\n\"b", "a\n\"b\"c\n", "a\nb\rc\n"])
    func malformed(text: String) {
        let error = #expect(throws: InventoryProblem.self) { try rows(text) }
        #expect(error?.reason.hasPrefix("row 2: ") ?? false)
    }
}
