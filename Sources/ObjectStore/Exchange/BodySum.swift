import Dispatch
import ThawCore
import Wire

/// What a body adds up to, before it is sent.
struct BodySum: Sendable {
    /// In the dialect's function.
    var crc64: UInt64
    /// Where the store does not know the other.
    var md5: [UInt8]?
}

extension Payload {
    /// Bodies up to this size are summed up where they are.
    private static let inlineBytesMax = 64 << 10
    private static let queue = DispatchQueue(label: "checksum", attributes: .concurrent)

    /// Reads the bytes once, on a thread that may block.
    func sum(_ function: CRC64.Function, withMD5: Bool) async throws(StoreError) -> BodySum {
        if case .bytes(let bytes) = self, bytes.count <= Self.inlineBytesMax {
            return try scan(function, withMD5: withMD5).get()
        }
        let result = await withCheckedContinuation { continuation in
            Self.queue.async { continuation.resume(returning: scan(function, withMD5: withMD5)) }
        }
        return try result.get()
    }

    private func scan(_ function: CRC64.Function, withMD5: Bool) -> Result<BodySum, StoreError> {
        var crc64 = CRC64(function)
        var md5 = withMD5 ? Digest.MD5() : nil
        func take(_ bytes: UnsafeRawBufferPointer) {
            crc64.update(bytes)
            md5?.update(bytes)
        }
        switch self {
        case .bytes(let bytes): bytes.withUnsafeBytes { take($0) }
        case .file(let file, let range):
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
            defer { buffer.deallocate() }
            var offset = range.lowerBound
            while offset < range.upperBound {
                let piece = UnsafeMutableRawBufferPointer(
                    rebasing: buffer.prefix(Int(min(UInt64(buffer.count), range.upperBound - offset))))
                switch file.read(into: piece, at: offset) {
                case .success(piece.count): take(UnsafeRawBufferPointer(piece))
                case .success(let count): return .failure(.shortFile(at: offset + UInt64(count), range))
                case .failure(let error): return .failure(.unreadable("\(error) at byte \(offset)"))
                }
                offset += UInt64(piece.count)
            }
        }
        return .success(BodySum(crc64: crc64.value, md5: md5?.value))
    }
}

extension StoreError {
    package static func unreadable(_ words: String) -> StoreError {
        StoreError(.unreadable, code: "LocalReadFailed", message: "the bytes to be sent cannot be read: \(words)")
    }

    package static func shortFile(at end: UInt64, _ range: Range<UInt64>) -> StoreError {
        .unreadable("the file ends at byte \(end) of \(range.lowerBound)..<\(range.upperBound)")
    }
}
