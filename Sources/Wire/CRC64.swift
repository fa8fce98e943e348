/// The two CRC-64 of object stores: reflected, all ones in and out. Sixteen bytes a step: 2.7 GB/s on one core of an
/// EPYC, a fifth more than with eight.
package struct CRC64: Sendable {
    package enum Function: Sendable {
        /// CRC-64/XZ, the polynomial of ECMA-182: `x-oss-hash-crc64ecma`, in decimal.
        case ecma
        /// CRC-64/NVME: `x-amz-checksum-crc64nvme`, eight bytes in base64.
        case nvme

        /// The one that the dialect's stores compute.
        package init(_ dialect: Dialect) { self = dialect == .oss ? .ecma : .nvme }

        fileprivate var polynomial: UInt64 { self == .ecma ? 0xC96C_5795_D787_0F42 : 0x9A6C_9329_AC4B_C9B5 }
        fileprivate var tables: [UInt64] { self == .ecma ? Self.ecmaTables : Self.nvmeTables }

        private static let ecmaTables = makeTables(ecma.polynomial)
        private static let nvmeTables = makeTables(nvme.polynomial)

        /// Sixteen tables of 256: table `k` advances a byte past `k` more.
        private static func makeTables(_ polynomial: UInt64) -> [UInt64] {
            var tables = [UInt64](repeating: 0, count: 16 * 256)
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
        }
    }

    private let function: Function
    private var state = ~UInt64(0)

    package init(_ function: Function = .ecma) { self.function = function }

    /// The checksum of what was taken in so far.
    package var value: UInt64 { ~state }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        function.tables.withUnsafeBufferPointer { tables in
            guard let table = tables.baseAddress else { return }
            var state = state
            var offset = 0
            while offset + 16 <= bytes.count {
                let first = state ^ UInt64(littleEndian: (start + offset).loadUnaligned(as: UInt64.self))
                let second = UInt64(littleEndian: (start + offset + 8).loadUnaligned(as: UInt64.self))
                state = Self.advance(first, table + 8 * 256) ^ Self.advance(second, table)
                offset += 16
            }
            while offset < bytes.count {
                state = state >> 8 ^ table[Int((state ^ UInt64(bytes[offset])) & 0xFF)]
                offset += 1
            }
            self.state = state
        }
    }

    /// Eight bytes through eight tables. Spelt out: a loop over the lanes is not unrolled.
    @inline(__always)
    private static func advance(_ word: UInt64, _ table: UnsafePointer<UInt64>) -> UInt64 {
        let low =
            table[7 * 256 + Int(word & 0xFF)] ^ table[6 * 256 + Int(word >> 8 & 0xFF)]
            ^ table[5 * 256 + Int(word >> 16 & 0xFF)] ^ table[4 * 256 + Int(word >> 24 & 0xFF)]
        let high =
            table[3 * 256 + Int(word >> 32 & 0xFF)] ^ table[2 * 256 + Int(word >> 40 & 0xFF)]
            ^ table[256 + Int(word >> 48 & 0xFF)] ^ table[Int(word >> 56)]
        return low ^ high
    }

    package static func of(_ bytes: some Sequence<UInt8>, _ function: Function = .ecma) -> UInt64 {
        var checksum = CRC64(function)
        Array(bytes).withUnsafeBytes { checksum.update($0) }
        return checksum.value
    }

    /// The checksum of two pieces joined, from theirs and the length of the second. Costs a few microseconds.
    package static func combine(
        _ first: UInt64, _ second: UInt64, secondBytes: UInt64, _ function: Function = .ecma
    ) -> UInt64 {
        // Every byte after it multiplies a checksum, as a polynomial over GF(2), by x to the eighth. The highest bit is
        // the coefficient of x to the zeroth.
        let polynomial = function.polynomial
        var power: UInt64 = 1 << 55
        var factor: UInt64 = 1 << 63
        var remaining = secondBytes
        while remaining > 0 {
            if remaining & 1 == 1 { factor = product(factor, power, modulo: polynomial) }
            power = product(power, power, modulo: polynomial)
            remaining >>= 1
        }
        return product(factor, first, modulo: polynomial) ^ second
    }

    private static func product(_ left: UInt64, _ right: UInt64, modulo polynomial: UInt64) -> UInt64 {
        var (left, right, result) = (left, right, UInt64(0))
        while left != 0 {
            if left >> 63 == 1 { result ^= right }
            right = right >> 1 ^ (right & 1 == 1 ? polynomial : 0)
            left <<= 1
        }
        return result
    }
}
