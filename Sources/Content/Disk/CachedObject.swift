internal import Synchronization
internal import ThawCore

/// Which blocks of one version of an object are on disk, and what their checksums are. There is one for each that
/// somebody reads.
final class CachedObject: Sendable {
    let name: BlockName
    let sizeBytes: UInt64
    private let segments: Mutex<[UInt32: Segment]>

    struct Segment: Sendable, Equatable {
        /// Of each block; 0 where there is none.
        var sums: [UInt64]
        /// Segments with the earliest one make room first; see `BlockCache.worth`.
        var worth: Timestamp
    }

    init(name: BlockName, sizeBytes: UInt64, segments: [UInt32: Segment]) {
        self.name = name
        self.sizeBytes = sizeBytes
        self.segments = Mutex(segments)
    }

    func segment(_ number: UInt32) -> Segment? { segments.withLock { $0[number] } }

    /// Whether all of the range is there. It must begin and end where blocks do, and not be longer than the object.
    func has(_ range: Range<UInt64>) -> Bool {
        segments.withLock { segments in
            Blocks.segments(of: range).allSatisfy { number, part in
                guard let segment = segments[number] else { return false }
                return segment.sums[Self.blocks(of: part)].allSatisfy { $0 != 0 }
            }
        }
    }

    /// The checksums over a range of one segment.
    func sums(_ number: UInt32, _ range: Range<UInt64>) -> [UInt64]? {
        segments.withLock { $0[number].map { Array($0.sums[Self.blocks(of: range)]) } }
    }

    /// Notes blocks that were written, from where `range` begins; answers how many bytes are there that were not.
    func add(_ number: UInt32, _ range: Range<UInt64>, _ sums: [UInt64], worth: Timestamp) -> UInt64 {
        segments.withLock { segments in
            var segment = segments[number] ?? Segment(sums: emptySums(number), worth: worth)
            var added: UInt64 = 0
            for (block, sum) in zip(Self.blocks(of: range), sums) {
                if segment.sums[block] == 0 { added += bytes(ofBlock: block, in: number) }
                segment.sums[block] = sum
            }
            segment.worth = max(segment.worth, worth)
            segments[number] = segment
            return added
        }
    }

    /// Forgets blocks that are not what they should be; answers how many bytes that were.
    func drop(_ number: UInt32, _ range: Range<UInt64>) -> UInt64 {
        segments.withLock { segments in
            guard var segment = segments[number] else { return 0 }
            var dropped: UInt64 = 0
            for block in Self.blocks(of: range) where segment.sums[block] != 0 {
                segment.sums[block] = 0
                dropped += bytes(ofBlock: block, in: number)
            }
            segments[number] = segment.sums.contains { $0 != 0 } ? segment : nil
            return dropped
        }
    }

    /// Forgets a segment; answers how many bytes that were.
    func remove(_ number: UInt32) -> UInt64 {
        segments.withLock { segments in
            segments.removeValue(forKey: number).map { bytes(of: $0, number) } ?? 0
        }
    }

    /// Notes that the segment was used; answers whether that is worth remembering.
    func touch(_ number: UInt32, worth: Timestamp) -> Bool {
        segments.withLock { segments in
            guard let known = segments[number]?.worth, known + Self.touchStep < worth else { return false }
            segments[number]?.worth = worth
            return true
        }
    }

    func presentBytes(_ number: UInt32) -> UInt64 {
        segments.withLock { segments in segments[number].map { bytes(of: $0, number) } ?? 0 }
    }

    /// A use within this of the last one changes nothing: else every read would write.
    private static let touchStep = Duration.seconds(60)

    private func bytes(of segment: Segment, _ number: UInt32) -> UInt64 {
        segment.sums.indices.reduce(0) { $0 + (segment.sums[$1] == 0 ? 0 : bytes(ofBlock: $1, in: number)) }
    }

    private func bytes(ofBlock block: Int, in number: UInt32) -> UInt64 {
        let start = UInt64(number) * Blocks.segmentBytes + UInt64(block) * Blocks.blockBytes
        return min(Blocks.blockBytes, sizeBytes - min(start, sizeBytes))
    }

    private func emptySums(_ number: UInt32) -> [UInt64] {
        Array(repeating: 0, count: Self.blockCount(number, sizeBytes: sizeBytes))
    }

    static func blockCount(_ number: UInt32, sizeBytes: UInt64) -> Int {
        let start = UInt64(number) * Blocks.segmentBytes
        let bytes = min(Blocks.segmentBytes, sizeBytes - min(start, sizeBytes))
        return Int((bytes + Blocks.blockBytes - 1) / Blocks.blockBytes)
    }

    /// The blocks of its segment that a range of one segment covers.
    private static func blocks(of range: Range<UInt64>) -> Range<Int> {
        let first = Int(range.lowerBound % Blocks.segmentBytes / Blocks.blockBytes)
        return first..<first + Int((UInt64(range.count) + Blocks.blockBytes - 1) / Blocks.blockBytes)
    }
}
