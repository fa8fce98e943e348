package import NIOCore

/// Content of seeded objects: one block of pseudo-random bytes, repeated, begun at a place that the seed
/// gives. Every slice is a view of the same memory, so that a gibibyte costs nothing to keep and nothing to
/// make.
package enum SyntheticContent {
    /// The period of the content.
    package static let blockBytes = 1 << 16
    private static let repeats = 17

    /// Views of it overlap: the longest is a megabyte whatever its start.
    private static let bytes: ByteBuffer = {
        var block = ByteBuffer()
        block.reserveCapacity(blockBytes * repeats)
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        for _ in 0..<(blockBytes / 8) {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            block.writeInteger(state, endianness: .little)
        }
        let once = block
        for _ in 1..<repeats { block.writeImmutableBuffer(once) }
        return block
    }()

    /// At most `max` bytes, and at most a mebibyte, of the content from `offset` on.
    package static func slice(seed: UInt64, offset: UInt64, max: Int) -> ByteBuffer {
        let start = Int((seed &* 0x2545_F491_4F6C_DD1D &+ offset) % UInt64(blockBytes))
        let length = min(max, blockBytes * repeats - start)
        return bytes.getSlice(at: start, length: min(length, 1 << 20)) ?? ByteBuffer()
    }

    /// FNV-1a of the bucket and the key.
    package static func seed(bucket: String, key: [UInt8]) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in Array(bucket.utf8) + [0] + key {
            hash ^= UInt64(byte)
            hash &*= 0x100_0000_01B3
        }
        return hash
    }
}
