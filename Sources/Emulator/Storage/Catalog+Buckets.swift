import Database
import ThawCore

/// A bucket and its settings.
struct Bucket: Sendable {
    var id: Int64
    var name: String
    var created: Timestamp
    var storageClass: String
    var versioning: Versioning
    /// OSS `bucketArchiveDirectRead`: class Archive is readable without a restore.
    var archiveDirectRead: Bool

    enum Versioning: String, Sendable {
        case never = ""
        case enabled = "Enabled"
        case suspended = "Suspended"
    }
}

extension CatalogTables {
    func bucket(_ name: String) throws(ProviderError) -> Bucket {
        let found = try row("SELECT * FROM buckets WHERE name = ?1", [.text(name)], Self.bucket)
        guard let found else {
            var error = ProviderError.noSuchBucket
            error.details = [("BucketName", name)]
            throw error
        }
        return found
    }

    func buckets() throws(ProviderError) -> [Bucket] {
        try rows("SELECT * FROM buckets ORDER BY name", [], Self.bucket)
    }

    /// False when there is one of this name.
    func createBucket(_ name: String, storageClass: String, created: Timestamp) throws(ProviderError) -> Bool
    {
        try run(
            """
            INSERT OR IGNORE INTO buckets(name, created, class, versioning, direct_read)
            VALUES(?1, ?2, ?3, '', 0)
            """,
            [.text(name), .time(created), .text(storageClass)]
        )
        return changes > 0
    }

    func updateBucket(_ bucket: Bucket) throws(ProviderError) {
        try run(
            "UPDATE buckets SET versioning = ?2, direct_read = ?3 WHERE id = ?1",
            [.int(bucket.id), .text(bucket.versioning.rawValue), .int(bucket.archiveDirectRead ? 1 : 0)]
        )
    }

    func deleteBucket(_ bucket: Bucket) throws(ProviderError) {
        let used = try row("SELECT 1 FROM versions WHERE bucket = ?1 LIMIT 1", [.int(bucket.id)]) { _ in true
        }
        guard used == nil else { throw .bucketNotEmpty }
        try run("DELETE FROM buckets WHERE id = ?1", [.int(bucket.id)])
    }

    private static func bucket(_ row: Statement) -> Bucket {
        Bucket(
            id: row.int64(0),
            name: row.text(1),
            created: Timestamp(nanoseconds: row.int64(2)),
            storageClass: row.text(3),
            versioning: Bucket.Versioning(rawValue: row.text(4)) ?? .never,
            archiveDirectRead: row.int64(5) != 0
        )
    }
}
