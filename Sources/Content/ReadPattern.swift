/// How one open file is being read, and so how far ahead of it to fetch.
///
/// Sequential use doubles the window from one part to `aheadBytesMax`; a jump closes it. The kernel's own readahead
/// comes on two threads, slightly out of order, so a read close to the expected place counts as sequential.
package struct ReadPattern: Sendable {
    private var expected: UInt64 = 0
    private var aheadBytes: UInt64 = 0
    private let aheadBytesMax: UInt64

    private static let slack: UInt64 = 2 << 20
    static let firstAheadBytes: UInt64 = 1 << 20

    package init(aheadBytesMax: Int) { self.aheadBytesMax = UInt64(aheadBytesMax) }

    /// Notes a read and answers how many bytes after it are worth having.
    package mutating func note(_ range: Range<UInt64>) -> UInt64 {
        let isSequential =
            range.lowerBound <= expected &+ Self.slack && range.lowerBound &+ Self.slack >= expected
        guard isSequential else {
            expected = range.upperBound
            aheadBytes = 0
            return 0
        }
        if range.upperBound > expected {
            aheadBytes = min(max(aheadBytes * 2, Self.firstAheadBytes), aheadBytesMax)
            expected = range.upperBound
        }
        return aheadBytes
    }
}
