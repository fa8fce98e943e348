/// Byte ranges of a file, sorted, apart from each other.
package struct Extents: Sendable, Equatable {
    package private(set) var ranges: [Range<UInt64>] = []

    package init() {}
    package init(_ range: Range<UInt64>) { insert(range) }

    package var isEmpty: Bool { ranges.isEmpty }
    package var sizeBytes: UInt64 { ranges.reduce(0) { $0 + $1.upperBound - $1.lowerBound } }

    package mutating func insert(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        // What nearly every write does: it goes on where the last one ended.
        if let last = ranges.last, last.upperBound == range.lowerBound {
            ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
            return
        }
        let first = firstIndex { $0.upperBound >= range.lowerBound }
        var merged = range
        var end = first
        while end < ranges.count, ranges[end].lowerBound <= range.upperBound {
            merged = min(merged.lowerBound, ranges[end].lowerBound)..<max(merged.upperBound, ranges[end].upperBound)
            end += 1
        }
        ranges.replaceSubrange(first..<end, with: CollectionOfOne(merged))
    }

    package mutating func remove(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        let first = firstIndex { $0.upperBound > range.lowerBound }
        var end = first
        var rest: [Range<UInt64>] = []
        while end < ranges.count, ranges[end].lowerBound < range.upperBound {
            let known = ranges[end]
            if known.lowerBound < range.lowerBound { rest.append(known.lowerBound..<range.lowerBound) }
            if known.upperBound > range.upperBound { rest.append(range.upperBound..<known.upperBound) }
            end += 1
        }
        ranges.replaceSubrange(first..<end, with: rest)
    }

    /// Takes out everything from `offset` on.
    package mutating func cut(at offset: UInt64) { remove(offset..<UInt64.max) }

    /// The parts of `range` that are in here, in order.
    package func pieces(in range: Range<UInt64>) -> [Range<UInt64>] {
        guard !range.isEmpty else { return [] }
        var found: [Range<UInt64>] = []
        var index = firstIndex { $0.upperBound > range.lowerBound }
        while index < ranges.count, ranges[index].lowerBound < range.upperBound {
            found.append(ranges[index].clamped(to: range))
            index += 1
        }
        return found
    }

    /// The parts of `range` that are not in here, in order.
    package func gaps(in range: Range<UInt64>) -> [Range<UInt64>] {
        var gaps: [Range<UInt64>] = []
        var start = range.lowerBound
        for piece in pieces(in: range) {
            if piece.lowerBound > start { gaps.append(start..<piece.lowerBound) }
            start = piece.upperBound
        }
        if start < range.upperBound { gaps.append(start..<range.upperBound) }
        return gaps
    }

    package func contains(_ range: Range<UInt64>) -> Bool {
        if range.isEmpty { return true }
        let index = firstIndex { $0.upperBound > range.lowerBound }
        guard index < ranges.count else { return false }
        return ranges[index].lowerBound <= range.lowerBound && range.upperBound <= ranges[index].upperBound
    }

    package func overlaps(_ range: Range<UInt64>) -> Bool {
        guard !range.isEmpty else { return false }
        let index = firstIndex { $0.upperBound > range.lowerBound }
        return index < ranges.count && ranges[index].lowerBound < range.upperBound
    }

    /// The first range that satisfies the condition, which all after it must as well.
    private func firstIndex(where condition: (Range<UInt64>) -> Bool) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if condition(ranges[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
