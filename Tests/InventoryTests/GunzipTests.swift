import Testing

@testable import Inventory

@Suite("unpacking gzip as it comes")
struct GunzipTests {
    private let text = (0..<200).map { "row \($0 * $0 % 7)," }.joined()

    private func unpack(_ pieces: [[UInt8]], room: Int = 64) throws -> String {
        let gunzip = try Gunzip()
        var output = [UInt8](repeating: 0, count: room)
        var all: [UInt8] = []
        for piece in pieces {
            gunzip.take(piece)
            while let count = try gunzip.read(into: &output) { all += output[..<count] }
        }
        try gunzip.finish()
        return String(decoding: all, as: UTF8.self)
    }

    @Test("bytes that come in two pieces, wherever they are cut, are the same text")
    func pieces() throws {
        let packed = gzip(text)
        for cut in 0...packed.count {
            #expect(try unpack([Array(packed[..<cut]), Array(packed[cut...])]) == text)
        }
        #expect(try unpack(packed.map { [$0] }, room: 1) == text)
    }

    @Test("several members are one text")
    func members() throws {
        let packed = gzip("one,") + gzip("") + gzip("two")
        #expect(try unpack([packed]) == "one,two")
        #expect(try unpack(packed.map { [$0] }) == "one,two")
    }

    @Test("what ends early is not taken for the whole, wherever it ends")
    func truncated() {
        let packed = gzip(text)
        for count in packed.indices {
            #expect(throws: InventoryProblem.self) { try unpack([Array(packed[..<count])]) }
        }
        #expect(throws: InventoryProblem.self) { try unpack([packed + packed.prefix(12)]) }
    }

    @Test("damage in the compressed data or its checksum is found, and other data is refused")
    func damaged() {
        var packed = gzip(text)
        packed[packed.count - 8] ^= 1
        #expect(throws: InventoryProblem.self) { try unpack([packed]) }
        #expect(throws: InventoryProblem.self) { try unpack([Array("Bucket,Key\n".utf8)]) }
        #expect(throws: InventoryProblem.self) { try unpack([]) }
    }
}
