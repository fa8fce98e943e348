internal import Dispatch
internal import ObjectStore
internal import ThawCore
internal import Wire

/// The two digests that go with what is uploaded.
struct ArchiveSum: Sendable {
    var content: String
    var tree: String

    var headers: [(name: String, value: String)] {
        [("x-oas-content-etag", content), ("x-oas-tree-etag", tree)]
    }
}

extension Payload {
    private static let queue = DispatchQueue(label: "archive-sum", attributes: .concurrent)

    /// Reads the bytes once, on a thread that may block.
    func archiveSum() async throws(StoreError) -> ArchiveSum {
        let result = await withCheckedContinuation { continuation in
            Self.queue.async { continuation.resume(returning: summed()) }
        }
        return try result.get()
    }

    private func summed() -> Result<ArchiveSum, StoreError> {
        var (md5, tree) = (Digest.MD5(), TreeETag())
        func take(_ bytes: UnsafeRawBufferPointer) {
            md5.update(bytes)
            tree.update(bytes)
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
        return .success(ArchiveSum(content: TreeETag.hex(md5.value), tree: tree.value))
    }
}
