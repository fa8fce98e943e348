import Database
import ThawCore
import Wire

/// A multipart upload of an archive.
struct ArchiveUpload: Sendable {
    var id: String
    var description: String
    var created: Timestamp
    var partBytes: UInt64

    var json: JSON {
        [
            "MultipartUploadId": .string(id), "CreationDate": .string(WireDate.rfc1123(created)),
            "PartSizeInBytes": JSON(partBytes), "ArchiveDescription": .string(description),
        ]
    }
}

struct ArchivePart: Sendable {
    var start: UInt64
    var sizeBytes: UInt64
    var etag: String
    var leaves: [String]
    var content: [Segment]
}

extension CatalogTables {
    private static func archiveUpload(_ row: Statement) -> ArchiveUpload {
        ArchiveUpload(
            id: row.text(0), description: row.text(1), created: Timestamp(nanoseconds: row.int64(2)),
            partBytes: row.uint64(3))
    }

    func insert(_ upload: ArchiveUpload, in vault: Vault) throws(ProviderError) {
        try run(
            "INSERT INTO archive_uploads VALUES(?1, ?2, ?3, ?4, ?5)",
            [
                .text(upload.id), .text(vault.id), .text(upload.description), .time(upload.created),
                .int(Int64(upload.partBytes)),
            ])
    }

    func archiveUploads(of vault: Vault) throws(ProviderError) -> [ArchiveUpload] {
        try rows(
            "SELECT id, description, created, part_size FROM archive_uploads WHERE vault = ?1 ORDER BY id",
            [.text(vault.id)], Self.archiveUpload)
    }

    func archiveUpload(_ id: String, in vault: Vault) throws(ProviderError) -> ArchiveUpload {
        let found = try archiveUploads(of: vault).first { $0.id == id }
        guard let found else { throw .noSuch("UploadId") }
        return found
    }

    func parts(of upload: ArchiveUpload) throws(ProviderError) -> [ArchivePart] {
        try rows(
            "SELECT start, size, etag, leaves, content FROM archive_parts WHERE upload = ?1 ORDER BY start",
            [.text(upload.id)]
        ) { row throws(ProviderError) in
            ArchivePart(
                start: row.uint64(0), sizeBytes: row.uint64(1), etag: row.text(2),
                leaves: row.text(3).split(separator: " ").map(String.init), content: try Self.content(row.text(4)))
        }
    }

    /// In place of the part that begins where it does; answers the blobs that nothing refers to any more.
    func store(_ part: ArchivePart, of upload: ArchiveUpload) throws(ProviderError) -> [Int64] {
        let replaced = try parts(of: upload).filter { $0.start == part.start }.flatMap(\.content)
        try run(
            "INSERT OR REPLACE INTO archive_parts VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            [
                .text(upload.id), .int(Int64(part.start)), .int(Int64(part.sizeBytes)), .text(part.etag),
                .text(part.leaves.joined(separator: " ")), .text(part.content.text),
            ])
        try retain(part.content)
        return try release(replaced)
    }

    /// Forgets the upload; answers the blobs of its parts that nothing refers to any more.
    func remove(_ upload: ArchiveUpload) throws(ProviderError) -> [Int64] {
        let freed = try release(try parts(of: upload).flatMap(\.content))
        try run("DELETE FROM archive_parts WHERE upload = ?1", [.text(upload.id)])
        try run("DELETE FROM archive_uploads WHERE id = ?1", [.text(upload.id)])
        return freed
    }
}
