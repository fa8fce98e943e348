internal import Metadata

/// Gives rows of a listing their names. Rows come in listing order, so an object `a` comes before the directory `a/`
/// that would take its name, with `a-b` and the like between them: an object is held back until it is certain.
struct NameStream {
    private var held: [MetadataRow] = []

    /// Takes the next row and appends what is certain now.
    mutating func take(_ row: MetadataRow, into named: inout [Found]) {
        held.removeAll { earlier in
            let (isFollowed, isShadowed) = Self.relation(of: earlier.segment, to: row.segment)
            if isFollowed, !isShadowed { return false }
            named.append(Found(row: earlier, isShadowed: isShadowed))
            return true
        }
        if case .object = row.kind {
            held.append(row)
        } else {
            named.append(Found(row: row, isShadowed: false))
        }
    }

    /// There are no more rows: what was held is certain.
    mutating func finish(into named: inout [Found]) {
        for row in held { named.append(Found(row: row, isShadowed: false)) }
        held = []
    }

    /// Whether the later segment may still be followed by `earlier/`, and whether it is that.
    private static func relation(of earlier: [UInt8], to later: [UInt8]) -> (isFollowed: Bool, isShadowed: Bool) {
        let slash = UInt8(ascii: "/")
        guard later.count > earlier.count, later[earlier.count] <= slash, later.starts(with: earlier) else {
            return (false, false)
        }
        return (true, later[earlier.count] == slash)
    }
}
