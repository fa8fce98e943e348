import Glibc
import Logging
import Testing
import ThawCore

@Suite("text for logs and terminals")
struct PrintableTextTests {
    @Test("control characters are question marks, and all other text stays as it is")
    func controls() {
        let controls = (Array(0x00..<0x20) + Array(0x7f..<0xa0)).compactMap { Unicode.Scalar(UInt32($0)) }
        for scalar in controls { #expect("a\(Character(scalar))b".printable == "a?b") }
        for text in ["", "plain", "Grüße, 雪, 👩‍👩‍👧, \u{a0}~ \u{fffd}"] { #expect(text.printable == text) }
        #expect("a\r\nb\u{1b}[31m".printable == "a??b?[31m")
    }

    @Test("lines that are our own stay lines")
    func lines() {
        #expect("one\u{1b}\n\ntwo\r\n".printableLines == "one?\n\ntwo??")
        #expect("one\ntwo".printableLines == "one\ntwo")
    }

    @Test("a JSON document holds no control characters, and its values are what they were")
    func documents() {
        let value: JSON = "a\u{1b}[2J\u{9b}2J\u{7f}\r\n\u{a0}"
        #expect(value.text == #""a\u001b[2J\u009b2J\u007f\u000d\n"# + "\u{a0}\"")
        #expect(JSON(Array(value.text.utf8)) == value)
    }

    @Test("a log line is one line, whatever its message and values hold")
    func logLine() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[0]) }
        let descriptor = ends[1]
        var log = Logger(label: "restore") { LogLine(label: $0, level: .info, descriptor: descriptor) }
        log[metadataKey: "key"] = "a\rb\u{9b}2J"
        log.info("said\n2026-11-21T03:04:05Z info forged\u{1b}[1A\u{7f}")
        close(descriptor)
        var piece = [UInt8](repeating: 0, count: 4096)
        let count = read(ends[0], &piece, piece.count)
        let text = String(decoding: piece[..<max(count, 0)], as: UTF8.self)
        #expect(text.hasSuffix("Z info restore: said?2026-11-21T03:04:05Z info forged?[1A? key=a?b?2J\n"))
        #expect(text.utf8.count { $0 == UInt8(ascii: "\n") } == 1)
    }
}
