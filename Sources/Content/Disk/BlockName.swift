internal import ThawCore
internal import Wire

/// What blocks are known by: a digest of the object's key, version, entity tag and size, so that no other content is
/// ever taken for it, and the disk does not tell what was read.
struct BlockName: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    init(key: ObjectKey, version: String?, etag: String, sizeBytes: UInt64) {
        var text = key.bytes
        for field in [version ?? "", etag, String(sizeBytes)] { text += [0] + Array(field.utf8) }
        let digest = Digest.sha256(text)
        (high, low) = (Self.word(digest[0..<8]), Self.word(digest[8..<16]))
    }

    init?(bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        (high, low) = (Self.word(bytes[0..<8]), Self.word(bytes[8..<16]))
    }

    private static func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

    var bytes: [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
    }
}

/// A run of an object's blocks, which has a file and a row of its own and is evicted as a whole.
struct SegmentName: Hashable, Sendable {
    let object: BlockName
    /// It begins at this many times `Blocks.segmentBytes`.
    let number: UInt32

    /// Below the cache's directory.
    var path: String { directory + "/\(hex(object.high))\(hex(object.low))-\(String(number, radix: 16))" }

    /// Of 256, so that none has too many files.
    var directory: String { Self.directory(object.low & 0xFF) }

    static func directory(_ number: UInt64) -> String { String(String(number | 0x100, radix: 16).dropFirst()) }

    private func hex(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// How an object is cut up for the cache.
enum Blocks {
    /// What is checked, and known to be there or not, by itself. Every part begins and ends on a multiple of it, or
    /// where the object ends.
    static let blockBytes: UInt64 = 64 << 10
    static let segmentBytes: UInt64 = 16 << 20
    /// Of an object whose segments can be numbered.
    static let objectBytesMax = segmentBytes << 32
    static let blocksPerSegment = Int(segmentBytes / blockBytes)

    static func aligned(down offset: UInt64) -> UInt64 { offset & ~(blockBytes - 1) }
    static func aligned(up offset: UInt64) -> UInt64 { aligned(down: offset &+ (blockBytes - 1)) }

    /// The segments that a range of an object touches, each with what of the range lies in it; one after the other,
    /// for a store may say that an object has any size.
    static func segments(of range: Range<UInt64>) -> some Sequence<(number: UInt32, range: Range<UInt64>)> {
        let first = range.lowerBound / segmentBytes
        let numbers = first..<(range.isEmpty ? first : (range.upperBound - 1) / segmentBytes + 1)
        return numbers.lazy.map { number in
            let whole = number * segmentBytes..<(number + 1) * segmentBytes
            return (UInt32(truncatingIfNeeded: number), range.clamped(to: whole))
        }
    }

    /// A block's checksum; never 0, which stands for a block that is not there.
    static func sum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var sum = CRC64(.nvme)
        sum.update(bytes)
        return max(sum.value, 1)
    }
}

extension SegmentName {
    /// Of a file's name, without its directory.
    init?(_ file: String) {
        let parts = file.split(separator: "-")
        guard parts.count == 2, parts[0].count == 32, let high = UInt64(parts[0].prefix(16), radix: 16),
            let low = UInt64(parts[0].suffix(16), radix: 16), let number = UInt32(parts[1], radix: 16)
        else { return nil }
        self.init(object: BlockName(high: high, low: low), number: number)
    }
}

extension BlockName {
    init(high: UInt64, low: UInt64) { (self.high, self.low) = (high, low) }
}
