import Crypto
import NIOCore
import Wire

/// A reflected CRC of 32 bits, a table entry a byte: S3's `x-amz-checksum-crc32` and `-crc32c`.
struct ReflectedCRC: Sendable {
    private let table: [UInt32]
    private var state = ~UInt32(0)

    /// `x-amz-checksum-` and one of these; nil for another word.
    init?(_ algorithm: String) {
        let polynomial: UInt32
        switch algorithm {
        case "crc32": polynomial = 0xEDB8_8320
        case "crc32c": polynomial = 0x82F6_3B78
        default: return nil
        }
        table = (0..<256).map { byte in
            (0..<8).reduce(UInt32(byte)) { remainder, _ in
                remainder >> 1 ^ (remainder & 1 == 1 ? polynomial : 0)
            }
        }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        table.withUnsafeBufferPointer { table in
            var state = state
            for byte in bytes { state = state >> 8 ^ table[Int((state ^ UInt32(byte)) & 0xFF)] }
            self.state = state
        }
    }

    /// Big-endian bytes.
    var value: [UInt8] { withUnsafeBytes(of: (~state).bigEndian) { Array($0) } }
}

/// The digests of one body as it streams by: those that the store needs and those that the client asked for.
struct BodyDigests {
    private var md5 = Insecure.MD5()
    private var crc64 = CRC64()
    private var nvme: CRC64?
    private var sha256: SHA256?
    private var sha1: Insecure.SHA1?
    private var crcs: [String: ReflectedCRC] = [:]

    /// - Parameter checksums: the algorithms of `x-amz-checksum-…` that the client sent or announced
    init(needsSHA256: Bool, checksums: Set<String>) {
        if needsSHA256 || checksums.contains("sha256") { sha256 = SHA256() }
        if checksums.contains("crc64nvme") { nvme = CRC64(.nvme) }
        if checksums.contains("sha1") { sha1 = Insecure.SHA1() }
        for algorithm in checksums { crcs[algorithm] = ReflectedCRC(algorithm) }
    }

    mutating func update(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { bytes in
            md5.update(bufferPointer: bytes)
            crc64.update(bytes)
            nvme?.update(bytes)
            sha256?.update(bufferPointer: bytes)
            sha1?.update(bufferPointer: bytes)
            for algorithm in crcs.keys { crcs[algorithm]?.update(bytes) }
        }
    }

    var md5Digest: [UInt8] { Array(md5.finalize()) }
    var crc64Value: UInt64 { crc64.value }
    var nvmeValue: UInt64? { nvme?.value }
    var sha256Hex: String? { sha256.map { Hex.encode($0.finalize()) } }

    /// In base64, as the header has it; nil for an algorithm that was not asked for or is not known.
    func checksum(_ algorithm: String) -> String? {
        switch algorithm {
        case "sha256": sha256.map { Base64.encode(Array($0.finalize())) }
        case "sha1": sha1.map { Base64.encode(Array($0.finalize())) }
        case "crc64nvme": nvme.map { nvme in Base64.encode(withUnsafeBytes(of: nvme.value.bigEndian) { Array($0) }) }
        default: crcs[algorithm].map { Base64.encode($0.value) }
        }
    }

    static let algorithms: Set<String> = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"]
}
