import Crypto
import NIOCore
import Wire

/// A reflected CRC of up to 64 bits, a table entry a byte: S3's `x-amz-checksum-crc32`, `-crc32c`,
/// `-crc64nvme`.
struct ReflectedCRC: Sendable {
    private let table: [UInt64]
    private let mask: UInt64
    private let byteCount: Int
    private var state: UInt64

    /// `x-amz-checksum-` and one of these; nil for another word.
    init?(_ algorithm: String) {
        let polynomial: UInt64
        switch algorithm {
        case "crc32": (polynomial, byteCount) = (0xEDB8_8320, 4)
        case "crc32c": (polynomial, byteCount) = (0x82F6_3B78, 4)
        case "crc64nvme": (polynomial, byteCount) = (0x9A6C_9329_AC4B_C9B5, 8)
        default: return nil
        }
        mask = byteCount == 4 ? 0xFFFF_FFFF : ~0
        state = mask
        table = (0..<256).map { byte in
            (0..<8).reduce(UInt64(byte)) { remainder, _ in
                remainder >> 1 ^ (remainder & 1 == 1 ? polynomial : 0)
            }
        }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        table.withUnsafeBufferPointer { table in
            var state = state
            for byte in bytes { state = state >> 8 ^ table[Int((state ^ UInt64(byte)) & 0xFF)] }
            self.state = state
        }
    }

    /// Big-endian bytes.
    var value: [UInt8] {
        let value = (state ^ mask) << UInt64(64 - 8 * byteCount)
        return withUnsafeBytes(of: value.bigEndian) { Array($0.prefix(byteCount)) }
    }
}

/// The digests of one body as it streams by: those that the store needs and those that the client asked for.
struct BodyDigests {
    private var md5 = Insecure.MD5()
    private var crc64 = CRC64()
    private var sha256: SHA256?
    private var sha1: Insecure.SHA1?
    private var crcs: [String: ReflectedCRC] = [:]

    /// - Parameter checksums: the algorithms of `x-amz-checksum-…` that the client sent or announced
    init(needsSHA256: Bool, checksums: Set<String>) {
        if needsSHA256 || checksums.contains("sha256") { sha256 = SHA256() }
        if checksums.contains("sha1") { sha1 = Insecure.SHA1() }
        for algorithm in checksums { crcs[algorithm] = ReflectedCRC(algorithm) }
    }

    mutating func update(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { bytes in
            md5.update(bufferPointer: bytes)
            crc64.update(bytes)
            sha256?.update(bufferPointer: bytes)
            sha1?.update(bufferPointer: bytes)
            for algorithm in crcs.keys { crcs[algorithm]?.update(bytes) }
        }
    }

    var md5Digest: [UInt8] { Array(md5.finalize()) }
    var crc64Value: UInt64 { crc64.value }
    var sha256Hex: String? { sha256.map { Hex.encode($0.finalize()) } }

    /// In base64, as the header has it; nil for an algorithm that was not asked for or is not known.
    func checksum(_ algorithm: String) -> String? {
        switch algorithm {
        case "sha256": sha256.map { Base64.encode(Array($0.finalize())) }
        case "sha1": sha1.map { Base64.encode(Array($0.finalize())) }
        default: crcs[algorithm].map { Base64.encode($0.value) }
        }
    }

    static let algorithms: Set<String> = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"]
}
