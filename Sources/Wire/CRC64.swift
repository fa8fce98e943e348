/// CRC-64 as `x-oss-hash-crc64ecma` has it (CRC-64/XZ): the ECMA-182 polynomial, reflected, all ones in and
/// out. Eight bytes a step.
package struct CRC64: Sendable {
    private static let polynomial: UInt64 = 0xC96C_5795_D787_0F42

    /// Eight tables of 256: table `k` advances a byte past `k` more.
    private static let tables: [UInt64] = {
        var tables = [UInt64](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var remainder = UInt64(byte)
            for _ in 0..<8 { remainder = remainder >> 1 ^ (remainder & 1 == 1 ? polynomial : 0) }
            tables[byte] = remainder
        }
        for index in 256..<tables.count {
            let previous = tables[index - 256]
            tables[index] = previous >> 8 ^ tables[Int(previous & 0xFF)]
        }
        return tables
    }()

    private var state = ~UInt64(0)

    package init() {}

    /// The checksum of what was taken in so far; the header carries it in decimal.
    package var value: UInt64 { ~state }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        Self.tables.withUnsafeBufferPointer { tables in
            var state = state
            var offset = 0
            while offset + 8 <= bytes.count {
                let word =
                    state ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                state = 0
                for lane in 0..<8 { state ^= tables[(7 - lane) * 256 + Int(word >> UInt64(lane * 8) & 0xFF)] }
                offset += 8
            }
            while offset < bytes.count {
                state = state >> 8 ^ tables[Int((state ^ UInt64(bytes[offset])) & 0xFF)]
                offset += 1
            }
            self.state = state
        }
    }

    package static func of(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var checksum = CRC64()
        Array(bytes).withUnsafeBytes { checksum.update($0) }
        return checksum.value
    }

    /// The checksum of two pieces joined, from theirs and the length of the second. Costs a few microseconds.
    package static func combine(_ first: UInt64, _ second: UInt64, secondBytes: UInt64) -> UInt64 {
        // A matrix over GF(2), a column a bit: what a zero bit after the message does to the checksum.
        var operation = (0..<64).map { $0 == 0 ? polynomial : UInt64(1) << UInt64($0 - 1) }
        for _ in 0..<3 { operation = square(operation) }
        var result = first
        var remaining = secondBytes
        while remaining > 0 {
            if remaining & 1 == 1 { result = apply(operation, to: result) }
            operation = square(operation)
            remaining >>= 1
        }
        return result ^ second
    }

    private static func apply(_ matrix: [UInt64], to vector: UInt64) -> UInt64 {
        var vector = vector
        var result: UInt64 = 0
        while vector != 0 {
            result ^= matrix[vector.trailingZeroBitCount]
            vector &= vector - 1
        }
        return result
    }

    private static func square(_ matrix: [UInt64]) -> [UInt64] { matrix.map { apply(matrix, to: $0) } }
}
