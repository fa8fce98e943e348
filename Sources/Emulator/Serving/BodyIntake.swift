import NIOCore
import ThawCore
import Wire

/// The body of one request on its way in: decodes, digests and stores it, then checks what the client said of
/// it.
final class BodyIntake {
    /// Documents and settings may be so long.
    private static let collectedMax = 16 << 20

    private let request: StoreRequest
    /// Nil collects the body in memory.
    private let upload: (blob: Int64, store: BlobStore)?
    private var writer: BlobWriter?
    private var collected: [UInt8] = []
    private var digests: BodyDigests
    private var chunks: ChunkDecoder?
    private let checksums: Set<String>
    /// Of an archive.
    private var tree: TreeETag?
    private var sizeBytes: UInt64 = 0

    /// - Parameter signatures: what the chunks of a signed stream are signed with; nil to take them as they are
    init(
        _ request: StoreRequest,
        signatures: ChunkSignatures?,
        upload: (blob: Int64, store: BlobStore)?
    ) throws(ProviderError) {
        self.request = request
        self.upload = upload
        let payload = request.header("x-amz-content-sha256") ?? ""
        if payload.hasPrefix("STREAMING-") {
            let isSigned = payload.hasPrefix("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
            guard isSigned || payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER" else {
                throw .notImplemented("x-amz-content-sha256: \(payload)")
            }
            chunks = ChunkDecoder(signatures: isSigned ? signatures : nil)
        }
        let trailers = (request.header("x-amz-trailer") ?? "").split(separator: ",")
        // With the completion of an upload comes the checksum of the object, not of the document.
        let isCompletion = request.method == "POST" && request.has("uploadId")
        let named = request.headers.map(\.name) + trailers.map { $0.lowercased().filter { $0 != " " } }
        checksums = Set(
            named.filter { !isCompletion && $0.hasPrefix("x-amz-checksum-") }.map { String($0.dropFirst(15)) }
        ).intersection(BodyDigests.algorithms)
        digests = BodyDigests(needsSHA256: Self.isDigest(payload), checksums: checksums)
        if request.dialect == .oas, upload != nil { tree = TreeETag() }
        if let upload { writer = try BlobWriter(upload.blob, in: upload.store) }
    }

    private static func isDigest(_ payload: String) -> Bool { payload.utf8.count == 64 }

    func receive(_ buffer: ByteBuffer) throws(ProviderError) {
        guard chunks == nil else {
            for piece in try chunks?.decode(buffer) ?? [] { try store(piece) }
            return
        }
        try store(buffer)
    }

    private func store(_ buffer: ByteBuffer) throws(ProviderError) {
        digests.update(buffer)
        buffer.withUnsafeReadableBytes { tree?.update($0) }
        sizeBytes += UInt64(buffer.readableBytes)
        if upload == nil {
            guard sizeBytes <= Self.collectedMax else {
                throw ProviderError(400, "MaxMessageLengthExceeded", "Your request was too big.")
            }
            collected += Array(buffer.readableBytesView)
        } else {
            try writer?.write(buffer)
        }
    }

    /// The body, found to be what its sender meant. Nothing refers to the blob yet.
    func finish() throws(ProviderError) -> ReceivedBody {
        writer.take()?.finish()
        let md5 = digests.md5Digest
        if let claimed = request.header("content-md5"), claimed != Base64.encode(md5) {
            guard Base64.decode(claimed)?.count == 16 else {
                throw ProviderError(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
            }
            throw ProviderError(
                400,
                request.dialect == .oss ? "InvalidDigest" : "BadDigest",
                "The Content-MD5 you specified did not match what we received."
            )
        }
        let payload = request.header("x-amz-content-sha256") ?? ""
        if Self.isDigest(payload), payload != digests.sha256Hex {
            throw ProviderError(
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed."
            )
        }
        let content =
            sizeBytes == 0
            ? [] : upload.map { [Segment(source: .blob($0.blob), offset: 0, length: sizeBytes)] }
        return ReceivedBody(
            bytes: collected,
            content: content ?? [],
            sizeBytes: sizeBytes,
            md5: md5,
            crc64: digests.crc64Value,
            nvme: digests.nvmeValue,
            leaves: tree?.leaves ?? [],
            checksums: try checkedChecksums()
        )
    }

    /// Forgets what was stored.
    func abandon() {
        writer.take()?.finish()
        if let upload { upload.store.remove([upload.blob]) }
    }

    private func checkedChecksums() throws(ProviderError) -> [(name: String, value: String)] {
        if let chunks {
            let decoded = request.header("x-amz-decoded-content-length").flatMap { UInt64($0) }
            guard chunks.isComplete, decoded == nil || decoded == sizeBytes else {
                throw ProviderError(
                    400,
                    "IncompleteBody",
                    "You did not provide the number of bytes specified by the HTTP headers."
                )
            }
        }
        var checked: [(name: String, value: String)] = []
        for algorithm in checksums.sorted() {
            let name = "x-amz-checksum-" + algorithm
            let trailer = chunks?.trailers.first { $0.name == name }?.value
            guard let claimed = request.header(name) ?? trailer, let own = digests.checksum(algorithm) else {
                continue
            }
            guard claimed == own else {
                throw ProviderError(
                    400,
                    "BadDigest",
                    "The \(algorithm.uppercased()) you specified did not match the calculated checksum."
                )
            }
            checked.append(("checksum-" + algorithm, own))
        }
        return checked
    }
}

/// A body that was taken in whole.
struct ReceivedBody {
    /// Of a body that was collected.
    let bytes: [UInt8]
    /// Of one that was stored.
    let content: [Segment]
    let sizeBytes: UInt64
    let md5: [UInt8]
    let crc64: UInt64
    /// CRC-64/NVME, where the client sent it.
    let nvme: UInt64?
    /// MD5 of every mebibyte of an archive.
    let leaves: [String]
    /// As an object's headers keep them: `checksum-crc32` and its value.
    let checksums: [(name: String, value: String)]
}
