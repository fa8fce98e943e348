import Testing

@testable import Control

@Suite("lines of the control socket")
struct LineBufferTests {
    @Test("pieces become lines wherever they are cut", arguments: 1...12)
    func pieces(size: Int) throws {
        let text = Array("one\n\nthree is longer\nrest".utf8)
        var buffer = LineBuffer(bytesMax: 100)
        var lines: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            lines += try buffer.append(text[start..<min(start + size, text.count)])
                .map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(lines == ["one", "", "three is longer"])
    }

    @Test("a line of just the limit is taken, and one byte more is not")
    func limit() throws {
        var buffer = LineBuffer(bytesMax: 4)
        #expect(try buffer.append(Array("1234\n".utf8)).count == 1)
        #expect(throws: ControlError.lineTooLong(bytesMax: 4)) { try buffer.append(Array("12345\n".utf8)) }
    }

    @Test("a line without an end is refused once it passes the limit, however it comes")
    func endless() throws {
        var buffer = LineBuffer(bytesMax: 4)
        #expect(try buffer.append(Array("1234".utf8)).isEmpty)
        #expect(throws: ControlError.lineTooLong(bytesMax: 4)) { try buffer.append(Array("5".utf8)) }
    }
}
