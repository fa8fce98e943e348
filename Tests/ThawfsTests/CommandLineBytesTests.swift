import Testing

@testable import thawfs

@Suite("arguments as they were typed")
struct CommandLineBytesTests {
    private static func bytes(_ path: Path) -> [UInt8] { path.bytes.dropLast().map { UInt8(bitPattern: $0) } }

    @Test("arguments that are no text and look alike are each themselves, in their order")
    func lookalikes() {
        let typed: [[UInt8]] = [[0x61, 0xff], [0x62], [0x61, 0xfe], Array("a\u{fffd}".utf8), [0x61, 0xff]]
        var line = CommandLineBytes(typed)
        let paths = typed.map { line.path(String(decoding: $0, as: UTF8.self)) }
        #expect(paths.map(Self.bytes) == typed)
    }

    @Test("text is itself, also where it is equal to another argument by Unicode's rules")
    func text() {
        let typed = ["caf\u{e9}", "cafe\u{301}", "plain", ""].map { Array($0.utf8) }
        var line = CommandLineBytes(typed)
        let paths = typed.map { line.path(String(decoding: $0, as: UTF8.self)) }
        #expect(paths.map(Self.bytes) == typed)
    }

    @Test("what was not typed is taken as it is")
    func untyped() {
        var line = CommandLineBytes([])
        #expect(Self.bytes(line.path("\u{fffd}")) == Array("\u{fffd}".utf8))
    }
}
