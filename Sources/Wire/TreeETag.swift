/// The `x-oas-tree-etag` of bytes that come in pieces: a tree of MD5 over blocks of a mebibyte, in which a parent is
/// the MD5 of its children's uppercase hexadecimal digits, and an odd last node goes up as it is. Not Glacier's tree,
/// which is SHA-256 over binary children.
///
/// Source: the comments of the vendor's Python SDK for OAS, and a PHP client.
package struct TreeETag: Sendable {
    package static let blockBytes = 1 << 20

    /// Of the blocks that are complete, in order.
    private var blocks: [String] = []
    private var block = Digest.MD5()
    private var blockSize = 0

    package init() {}

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Self.blockBytes - blockSize)
            block.update(UnsafeRawBufferPointer(rebasing: piece))
            blockSize += piece.count
            rest = rest.dropFirst(piece.count)
            if blockSize == Self.blockBytes { endBlock() }
        }
    }

    private mutating func endBlock() {
        blocks.append(Self.hex(block.value))
        block = Digest.MD5()
        blockSize = 0
    }

    /// Of every block, the last of which may be short: uppercase hexadecimal MD5.
    package var leaves: [String] { blockSize > 0 || blocks.isEmpty ? blocks + [Self.hex(block.value)] : blocks }

    package var value: String { Self.root(of: leaves) }

    /// The root over nodes of one level: of blocks, or of parts that all but the last have the same power of two of
    /// mebibytes. `nodes` must not be empty.
    package static func root(of nodes: [String]) -> String {
        var level = nodes
        while level.count > 1 {
            level = stride(from: 0, to: level.count, by: 2).map { index in
                guard index + 1 < level.count else { return level[index] }
                return hex(Digest.md5(Array((level[index] + level[index + 1]).utf8)))
            }
        }
        return level[0]
    }

    /// As OAS writes digests.
    package static func hex(_ digest: [UInt8]) -> String { Hex.encode(digest).uppercased() }

    /// Of all of these bytes.
    package static func of(_ bytes: [UInt8]) -> String {
        var tree = TreeETag()
        bytes.withUnsafeBytes { tree.update($0) }
        return tree.value
    }
}
