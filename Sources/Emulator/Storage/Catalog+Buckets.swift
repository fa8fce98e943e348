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
    /// It was created to have object lock.
    var locksObjects = false
    /// What its creator asked for (`LocationConstraint`); nil where nobody did.
    var location: String?
    /// The CRN of the key that IBM's Key Protect encrypts it with.
    var rootKey: String?

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
    func createBucket(
        _ name: String, storageClass: String, created: Timestamp, location: String? = nil, rootKey: String? = nil,
        locksObjects: Bool = false
    ) throws(ProviderError) -> Bool {
        let versioning = locksObjects ? Bucket.Versioning.enabled : .never
        try run(
            """
            INSERT OR IGNORE INTO buckets(name, created, class, versioning, direct_read, locks, location, root_key)
            VALUES(?1, ?2, ?3, ?4, 0, ?5, ?6, ?7)
            """,
            [
                .text(name), .time(created), .text(storageClass), .text(versioning.rawValue),
                .int(locksObjects ? 1 : 0), .text(location), .text(rootKey),
            ]
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
        guard try !hasVersions(bucket) else { throw .bucketNotEmpty }
        try run("DELETE FROM configurations WHERE bucket = ?1", [.int(bucket.id)])
        try run("DELETE FROM buckets WHERE id = ?1", [.int(bucket.id)])
    }

    func hasVersions(_ bucket: Bucket) throws(ProviderError) -> Bool {
        try row("SELECT 1 FROM versions WHERE bucket = ?1 LIMIT 1", [.int(bucket.id)]) { _ in true } ?? false
    }

    // MARK: - Configurations

    func configuration(_ bucket: Bucket, _ name: String, id: String) throws(ProviderError) -> [UInt8]? {
        try row(
            "SELECT body FROM configurations WHERE bucket = ?1 AND name = ?2 AND id = ?3",
            [.int(bucket.id), .text(name), .text(id)]
        ) { $0.blob(0) }
    }

    /// In the order of their ids.
    func configurations(_ bucket: Bucket, _ name: String) throws(ProviderError) -> [(id: String, body: [UInt8])] {
        try rows(
            "SELECT id, body FROM configurations WHERE bucket = ?1 AND name = ?2 ORDER BY id",
            [.int(bucket.id), .text(name)]
        ) { ($0.text(0), $0.blob(1)) }
    }

    func setConfiguration(_ bucket: Bucket, _ name: String, id: String, _ body: [UInt8]) throws(ProviderError) {
        try run(
            "INSERT OR REPLACE INTO configurations(bucket, name, id, body) VALUES(?1, ?2, ?3, ?4)",
            [.int(bucket.id), .text(name), .text(id), .blob(body)])
    }

    /// False when there was none.
    func deleteConfiguration(_ bucket: Bucket, _ name: String, id: String) throws(ProviderError) -> Bool {
        try run(
            "DELETE FROM configurations WHERE bucket = ?1 AND name = ?2 AND id = ?3",
            [.int(bucket.id), .text(name), .text(id)])
        return changes > 0
    }

    private static func bucket(_ row: Statement) -> Bucket {
        Bucket(
            id: row.int64(0),
            name: row.text(1),
            created: Timestamp(nanoseconds: row.int64(2)),
            storageClass: row.text(3),
            versioning: Bucket.Versioning(rawValue: row.text(4)) ?? .never,
            archiveDirectRead: row.int64(5) != 0,
            locksObjects: row.int64(6) != 0,
            location: row.isNull(7) ? nil : row.text(7),
            rootKey: row.isNull(8) ? nil : row.text(8)
        )
    }
}
