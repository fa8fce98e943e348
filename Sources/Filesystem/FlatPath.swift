internal import Metadata
internal import ObjectStore
internal import ThawCore

/// Takes a listing without a delimiter apart into directories: where its last key stands, and which of the directories
/// on the way there are not at their end.
struct FlatPath {
    struct Level {
        /// Of the directory's prefix, in the path.
        let end: Int
        /// When the first page that has any of it was asked for.
        let startedAt: Timestamp
        /// The number of its listing; nil before the metadata store has given one.
        var listing: Int64?
        /// Nothing of it is told: the listing began inside of it, or something newer is known, or it was left to a
        /// listing of its own.
        var isPassedOver: Bool
        var isLeft = false
        /// The last segment that was told of.
        var last: [UInt8]?
        /// Pages that are of nothing but what is below it.
        var wholePages = 0
        /// Among those of the page at hand.
        fileprivate var part: Int?
    }

    private static let slash = UInt8(ascii: "/")
    /// Directories further down are listed by themselves: a key may have a thousand slashes.
    private static let levelsMax = 64

    private let start: [UInt8]
    private var bytes: [UInt8]
    /// The first is the directory whose tree it is, and is passed over.
    private(set) var levels: [Level]

    /// Of a listing of what is below `prefix` and after `start`.
    init(_ prefix: ObjectKey, after start: ObjectKey) {
        self.start = start.bytes
        bytes = prefix.bytes
        levels = [Level(end: prefix.bytes.count, startedAt: .epoch, isPassedOver: true)]
    }

    func prefix(_ level: Level) -> ObjectKey { ObjectKey(bytes[..<level.end]) }

    /// Where the directory is among the levels; nil unless the last key is below it.
    func level(of prefix: ObjectKey) -> Int? {
        levels.firstIndex { $0.end == prefix.bytes.count && bytes.starts(with: prefix.bytes) }
    }

    /// A listing of its own goes on with the directory.
    mutating func leave(_ level: Int) {
        levels[level].isPassedOver = true
        levels[level].isLeft = true
    }

    /// What the next page tells, directory by directory.
    mutating func take(_ objects: [ListedObject], isLast: Bool, at asked: Timestamp) -> [ListedPart] {
        var parts: [ListedPart] = []
        for object in objects {
            let key = object.key.bytes
            let start = (key.lastIndex(of: Self.slash) ?? -1) + 1
            enter(key[..<start], at: asked, &parts)
            let top = levels.count - 1
            // The directory's own marker is no name in it, unless it has content that would otherwise be lost.
            guard levels[top].end == start, start < key.count || object.record.sizeBytes > 0 else { continue }
            tell(key[start...], .object(object.record), at: asked, top, &parts)
        }
        if isLast { close(downTo: 1, &parts) }
        if let first = objects.first?.key.bytes {
            for index in levels.indices where first.starts(with: bytes[..<levels[index].end]) {
                levels[index].wholePages += 1
            }
        }
        return parts
    }

    /// The metadata store has taken the parts in, as listings of these numbers.
    mutating func number(_ listings: [Int64?]) {
        for index in levels.indices {
            guard let part = levels[index].part else { continue }
            levels[index].part = nil
            levels[index].listing = listings[part]
            if listings[part] == nil { levels[index].isPassedOver = true }
        }
    }

    /// Goes to the directory of the next key, up and down.
    private mutating func enter(_ directory: ArraySlice<UInt8>, at asked: Timestamp, _ parts: inout [ListedPart]) {
        var shared = 0
        let limit = min(bytes.count, directory.count)
        while shared < limit, bytes[shared] == directory[shared] { shared += 1 }
        if shared == directory.count, shared == bytes.count { return }
        close(downTo: levels.firstIndex { $0.end > shared } ?? levels.count, &parts)
        var end = levels[levels.count - 1].end
        while let slash = directory[end...].firstIndex(of: Self.slash) {
            let segment = directory[end...slash]
            if levels[levels.count - 1].last != Array(segment) {
                tell(segment, .directory(nil), at: asked, levels.count - 1, &parts)
            }
            if levels.count == Self.levelsMax { break }
            end = slash + 1
            bytes = Array(directory[..<end])
            let isPassedOver = !start.lexicographicallyPrecedes(bytes)
            levels.append(Level(end: end, startedAt: asked, isPassedOver: isPassedOver))
            if !isPassedOver { _ = part(levels.count - 1, &parts) }
        }
        bytes = Array(directory[..<end])
    }

    private mutating func tell(
        _ segment: ArraySlice<UInt8>, _ kind: MetadataRow.Kind, at asked: Timestamp, _ level: Int,
        _ parts: inout [ListedPart]
    ) {
        guard !levels[level].isPassedOver else { return }
        let row = MetadataRow(segment: Array(segment), kind: kind, checkedAt: asked)
        levels[level].last = row.segment
        let part = part(level, &parts)
        parts[part].rows.append(row)
    }

    /// The directories from this level on have no more keys.
    private mutating func close(downTo level: Int, _ parts: inout [ListedPart]) {
        while levels.count > level {
            if !levels[levels.count - 1].isPassedOver {
                let part = part(levels.count - 1, &parts)
                parts[part].isLast = true
            }
            levels.removeLast()
        }
    }

    private mutating func part(_ level: Int, _ parts: inout [ListedPart]) -> Int {
        if let part = levels[level].part { return part }
        levels[level].part = parts.count
        parts.append(ListedPart(prefix: prefix(levels[level]), listing: levels[level].listing))
        return parts.count - 1
    }
}
