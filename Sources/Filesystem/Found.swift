internal import Metadata

/// An entry of a directory under its name.
struct Found {
    var row: MetadataRow
    let isShadowed: Bool
    /// The name is the segment itself, without the slash that ends a directory's.
    let isPlainlyNamed: Bool

    init(row: MetadataRow, isShadowed: Bool) {
        self.row = row
        self.isShadowed = isShadowed
        isPlainlyNamed = !isShadowed && Names.isPlain(row.bare)
    }

    /// The segment without the slash that ends a directory's.
    var bare: ArraySlice<UInt8> { row.bare }
    var name: [UInt8] { Names.name(of: bare, isShadowed: isShadowed) }

    /// Lends the name, with a NUL after it.
    func withName(_ body: (UnsafePointer<CChar>) -> Bool) -> Bool {
        isPlainlyNamed ? Self.withText(bare, body) : Self.withText(name[...], body)
    }

    private static func withText(_ bytes: ArraySlice<UInt8>, _ body: (UnsafePointer<CChar>) -> Bool) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: bytes.count + 1, alignment: 1) { text in
            bytes.withUnsafeBytes { text.copyMemory(from: $0) }
            text[bytes.count] = 0
            guard let start = text.baseAddress else { return false }
            return body(start.assumingMemoryBound(to: CChar.self))
        }
    }
}

extension MetadataRow {
    fileprivate var bare: ArraySlice<UInt8> { isDirectory ? segment.dropLast() : segment[...] }
}
