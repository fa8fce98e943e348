import Database
import ThawCore

/// A multipart upload that was begun and neither completed nor aborted.
struct Upload: Sendable {
    var id: String
    var key: ObjectKey
    var initiated: Timestamp
    var storageClass: String
    var headers: [(name: String, value: String)]
}

struct UploadedPart: Sendable {
    var number: Int
    var sizeBytes: UInt64
    /// Hexadecimal, lowercase, without quotes.
    var etag: String
    var crc64: UInt64?
    /// CRC-64/NVME, where the client sent it.
    var nvme: UInt64?
    var modified: Timestamp
    var content: [Segment]

    /// The digest itself.
    var etagBytes: [UInt8] {
        let digits = Array(etag.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap { index in
            UInt8(String(decoding: digits[index...(index + 1)], as: UTF8.self), radix: 16)
        }
    }
}

extension CatalogTables {
    func insert(_ upload: Upload, in bucket: Bucket) throws(ProviderError) {
        try run(
            "INSERT INTO uploads(id, bucket, key, initiated, class, headers) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            [
                .text(upload.id), .int(bucket.id), .blob(upload.key.bytes), .time(upload.initiated),
                .text(upload.storageClass), .text(HeaderText.encode(upload.headers)),
            ]
        )
    }

    func upload(_ bucket: Bucket, _ key: ObjectKey, id: String) throws(ProviderError) -> Upload {
        let upload = try row(
            """
            SELECT id, key, initiated, class, headers FROM uploads
            WHERE bucket = ?1 AND key = ?2 AND id = ?3
            """,
            [.int(bucket.id), .blob(key.bytes), .text(id)],
            Self.upload
        )
        guard let upload else { throw .noSuchUpload }
        return upload
    }

    /// In order of their keys, then of their ids.
    func uploads(_ bucket: Bucket) throws(ProviderError) -> [Upload] {
        try rows(
            "SELECT id, key, initiated, class, headers FROM uploads WHERE bucket = ?1 ORDER BY key, id",
            [.int(bucket.id)],
            Self.upload
        )
    }

    func parts(_ upload: Upload) throws(ProviderError) -> [UploadedPart] {
        try rows(
            """
            SELECT number, size, etag, crc64, modified, content, nvme FROM parts
            WHERE upload = ?1 ORDER BY number
            """,
            [.text(upload.id)]
        ) { row throws(ProviderError) in
            guard let content = [Segment](text: row.text(5)) else {
                throw .internalError("unreadable content column")
            }
            return UploadedPart(
                number: Int(row.int64(0)),
                sizeBytes: row.uint64(1),
                etag: row.text(2),
                crc64: row.isNull(3) ? nil : row.uint64(3),
                nvme: row.isNull(6) ? nil : row.uint64(6),
                modified: Timestamp(nanoseconds: row.int64(4)),
                content: content
            )
        }
    }

    /// Stores a part in place of one of its number; answers the blobs that nothing refers to any more.
    func store(_ part: UploadedPart, of upload: Upload) throws(ProviderError) -> [Int64] {
        let replaced = try parts(upload).filter { $0.number == part.number }.flatMap(\.content)
        try run(
            """
            INSERT OR REPLACE INTO parts(upload, number, size, etag, crc64, modified, content, nvme)
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            """,
            [
                .text(upload.id), .int(Int64(part.number)), .int(Int64(part.sizeBytes)), .text(part.etag),
                .int(part.crc64.map { Int64(bitPattern: $0) }), .time(part.modified),
                .text(part.content.text), .int(part.nvme.map { Int64(bitPattern: $0) }),
            ]
        )
        return try release(replaced)
    }

    /// Forgets the upload and its parts, whose blobs keep their references.
    func remove(_ upload: Upload) throws(ProviderError) {
        try run("DELETE FROM parts WHERE upload = ?1", [.text(upload.id)])
        try run("DELETE FROM uploads WHERE id = ?1", [.text(upload.id)])
    }

    private static func upload(_ row: Statement) -> Upload {
        Upload(
            id: row.text(0),
            key: ObjectKey(row.blob(1)),
            initiated: Timestamp(nanoseconds: row.int64(2)),
            storageClass: row.text(3),
            headers: HeaderText.decode(row.text(4))
        )
    }
}
