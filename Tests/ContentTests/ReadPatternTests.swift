import Testing

@testable import Content

@Suite("how far ahead to read")
struct ReadPatternTests {
    private let kibi: UInt64 = 1 << 10
    private let mebi: UInt64 = 1 << 20

    @Test("reads in sequence double the window up to its limit")
    func growth() {
        var pattern = ReadPattern(aheadBytesMax: 8 << 20)
        var windows: [UInt64] = []
        for index in 0..<6 { windows.append(pattern.note(UInt64(index) * 128 * kibi..<UInt64(index + 1) * 128 * kibi)) }
        #expect(windows == [1, 2, 4, 8, 8, 8].map { $0 * mebi })
    }

    @Test("a jump closes the window, and going on from there opens it again")
    func collapse() {
        var pattern = ReadPattern(aheadBytesMax: 8 << 20)
        #expect(pattern.note(0..<kibi) == mebi)
        #expect(pattern.note(kibi..<2 * kibi) == 2 * mebi)
        #expect(pattern.note(100 * mebi..<100 * mebi + kibi) == 0)
        #expect(pattern.note(100 * mebi + kibi..<100 * mebi + 2 * kibi) == mebi)
        #expect(pattern.note(0..<kibi) == 0)
    }

    @Test("a read that was asked for twice, or comes a little out of order, neither grows nor closes it")
    func outOfOrder() {
        var pattern = ReadPattern(aheadBytesMax: 8 << 20)
        #expect(pattern.note(128 * kibi..<256 * kibi) == mebi)
        #expect(pattern.note(0..<128 * kibi) == mebi)
        #expect(pattern.note(128 * kibi..<256 * kibi) == mebi)
        #expect(pattern.note(256 * kibi..<384 * kibi) == 2 * mebi)
    }

    @Test("a small limit is kept from the first read on, and the last offsets do not trap")
    func limits() {
        var pattern = ReadPattern(aheadBytesMax: 1000)
        #expect(pattern.note(0..<10) == 1000)
        #expect(pattern.note(UInt64.max - 10..<UInt64.max) == 0)
        _ = pattern.note(UInt64.max - 5..<UInt64.max)
        #expect(pattern.note(0..<10) == 0)
    }
}
