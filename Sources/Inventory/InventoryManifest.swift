package import ThawCore

/// What `manifest.json` says of a report.
///
/// Sources: S3 User Guide, "Locating your inventory list"; Alibaba Cloud OSS, "Bucket inventory". IBM COS documents the
/// request (`PutBucketInventoryConfiguration`, as in S3) and no manifest: that it is S3's is assumed.
package struct InventoryManifest: Sendable {
    struct File: Sendable {
        let key: ObjectKey
        let sizeBytes: UInt64
        /// Lowercase hexadecimal digits.
        let md5: String
    }

    let sourceBucket: String
    /// When the scan of the bucket began: what was changed later may be in the report or not.
    package let createdAt: Timestamp
    let columns: InventoryColumns
    let files: [File]

    /// S3 counts `creationTimestamp` in milliseconds (`1514944800000`), OSS in seconds (`1642994594`), both as text.
    /// What is less than this is seconds: of milliseconds it would be 1973.
    private static let millisecondsMin: Int64 = 100_000_000_000

    init(_ bytes: [UInt8]) throws(InventoryProblem) {
        guard let json = JSON(bytes) else { throw InventoryProblem(reason: "it is no JSON") }
        guard let format = json["fileFormat"]?.string, let schema = json["fileSchema"]?.string,
            let source = json["sourceBucket"]?.string, let files = json["files"]?.array,
            let created = json["creationTimestamp"].flatMap(Self.number)
        else {
            throw InventoryProblem(
                reason: "one of sourceBucket, creationTimestamp, fileFormat, fileSchema and files is not there")
        }
        guard format.uppercased() == "CSV" else {
            throw InventoryProblem(reason: "its files are \(format), and only CSV can be read")
        }
        // An ARN ends in the name.
        sourceBucket = source.split(separator: ":").last.map(String.init) ?? source
        createdAt =
            created < Self.millisecondsMin
            ? Timestamp(seconds: created) : Timestamp(nanoseconds: created &* 1_000_000)
        columns = try InventoryColumns(schema)
        var list: [File] = []
        for file in files {
            guard let key = file["key"]?.string, let size = file["size"].flatMap(Self.number), size >= 0,
                let md5 = file["MD5checksum"]?.string
            else { throw InventoryProblem(reason: "a file of it lacks key, size or MD5checksum") }
            list.append(File(key: ObjectKey(key), sizeBytes: UInt64(size), md5: md5.lowercased()))
        }
        self.files = list
    }

    private static func number(_ json: JSON) -> Int64? {
        json.int.map(Int64.init) ?? json.string.flatMap { Int64($0) }
    }
}

/// Which column of a row is what: `fileSchema`, whose order is the report's own.
struct InventoryColumns: Sendable {
    let count: Int
    let key: Int
    let sizeBytes: Int
    let modified: Int
    let etag: Int
    /// Not among the fields that IBM COS documents.
    let storageClass: Int?
    /// In reports of all versions.
    let isLatest: Int?
    let isDeleteMarker: Int?
    let accessTier: Int?

    init(_ schema: String) throws(InventoryProblem) {
        let names = schema.split(separator: ",").map { $0.filter { $0 != " " }.lowercased() }
        func place(_ name: String) -> Int? { names.firstIndex(of: name.lowercased()) }
        func required(_ name: String) throws(InventoryProblem) -> Int {
            guard let index = place(name) else {
                throw InventoryProblem(
                    reason: "its rows have no \(name) (\(schema)); add the field to the inventory's configuration")
            }
            return index
        }
        count = names.count
        key = try required("Key")
        sizeBytes = try required("Size")
        modified = try required("LastModifiedDate")
        etag = try required("ETag")
        storageClass = place("StorageClass")
        isLatest = place("IsLatest")
        isDeleteMarker = place("IsDeleteMarker")
        accessTier = place("IntelligentTieringAccessTier")
    }
}
