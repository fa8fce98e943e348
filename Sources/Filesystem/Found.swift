internal import Metadata

/// An entry of a directory under its name.
struct Found {
    var row: MetadataRow
    var isShadowed: Bool

    /// The segment without the slash that ends a directory's.
    var bare: ArraySlice<UInt8> { row.isDirectory ? row.segment.dropLast() : row.segment[...] }
    var isPlainlyNamed: Bool { !isShadowed && Names.isPlain(bare) }
    var name: [UInt8] { Names.name(of: bare, isShadowed: isShadowed) }
}
