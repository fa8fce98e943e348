import Database
import ThawCore
import Wire

extension CatalogTables {
    fileprivate static let columns = """
        key, sequence, version, marker, size, etag, modified, class, archive_status, ready, expiry, tier,
        fails, crc64, headers, content
        """

    /// The current version, which may be a delete marker; nil where there never was one.
    func current(_ bucket: Bucket, _ key: ObjectKey) throws(ProviderError) -> ObjectVersion? {
        try row(
            """
            SELECT \(Self.columns) FROM versions
            WHERE bucket = ?1 AND key = ?2 ORDER BY sequence DESC LIMIT 1
            """,
            [.int(bucket.id), .blob(key.bytes)]
        ) { row throws(ProviderError) in try ObjectVersion(row: row, isWhole: true) }
    }

    func version(_ bucket: Bucket, _ key: ObjectKey, id: String) throws(ProviderError) -> ObjectVersion? {
        try row(
            "SELECT \(Self.columns) FROM versions WHERE bucket = ?1 AND key = ?2 AND version = ?3",
            [.int(bucket.id), .blob(key.bytes), .text(id)]
        ) { row throws(ProviderError) in try ObjectVersion(row: row, isWhole: true) }
    }

    /// Stores a version under the next sequence number and answers the blobs that nothing refers to any more.
    ///
    /// Replaces the null version unless versioning is on, which makes a new version with an id of its own.
    func store(_ version: inout ObjectVersion, in bucket: Bucket) throws(ProviderError) -> [Int64] {
        version.sequence = try nextSequence()
        var freed: [Int64] = []
        if bucket.versioning == .enabled {
            version.versionID = Hex.encode(
                withUnsafeBytes(of: UInt64(version.sequence).bigEndian) { Array($0) } + Array("thaw".utf8)
            )
        } else {
            version.versionID = "null"
            if let replaced = try self.version(bucket, version.key, id: "null") {
                freed = try remove(replaced, from: bucket)
            }
        }
        try insert(version, in: bucket)
        return freed
    }

    func insert(_ version: ObjectVersion, in bucket: Bucket) throws(ProviderError) {
        let restore = version.archive.restore
        try run(
            """
            INSERT INTO versions(bucket, \(Self.columns))
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
            """,
            [
                .int(bucket.id), .blob(version.key.bytes), .int(version.sequence), .text(version.versionID),
                .int(version.isDeleteMarker ? 1 : 0), .int(Int64(version.sizeBytes)), .text(version.etag),
                .time(version.modified), .text(version.archive.storageClass.name),
                .text(version.archive.archiveStatus), .time(restore?.ready), .time(restore?.expiry),
                .text(restore?.tier?.rawValue), .int(restore?.fails == true ? 1 : 0),
                .int(version.crc64.map { Int64(bitPattern: $0) }), .text(HeaderText.encode(version.headers)),
                .text(version.content.text),
            ]
        )
    }

    func updateArchive(_ version: ObjectVersion, in bucket: Bucket) throws(ProviderError) {
        let restore = version.archive.restore
        try run(
            """
            UPDATE versions
            SET class = ?4, archive_status = ?5, ready = ?6, expiry = ?7, tier = ?8, fails = ?9
            WHERE bucket = ?1 AND key = ?2 AND sequence = ?3
            """,
            [
                .int(bucket.id), .blob(version.key.bytes), .int(version.sequence),
                .text(version.archive.storageClass.name), .text(version.archive.archiveStatus),
                .time(restore?.ready), .time(restore?.expiry), .text(restore?.tier?.rawValue),
                .int(restore?.fails == true ? 1 : 0),
            ]
        )
    }

    func updateHeaders(_ version: ObjectVersion, in bucket: Bucket) throws(ProviderError) {
        try run(
            "UPDATE versions SET headers = ?4 WHERE bucket = ?1 AND key = ?2 AND sequence = ?3",
            [
                .int(bucket.id), .blob(version.key.bytes), .int(version.sequence),
                .text(HeaderText.encode(version.headers)),
            ]
        )
    }

    /// Forgets a version and answers the blobs that nothing refers to any more.
    func remove(_ version: ObjectVersion, from bucket: Bucket) throws(ProviderError) -> [Int64] {
        try run(
            "DELETE FROM versions WHERE bucket = ?1 AND key = ?2 AND sequence = ?3",
            [.int(bucket.id), .blob(version.key.bytes), .int(version.sequence)]
        )
        return try release(version.content)
    }

    func nextSequence() throws(ProviderError) -> Int64 {
        let next = (Int64(try setting("sequence") ?? "") ?? 0) + 1
        try setSetting("sequence", String(next))
        return next
    }

    // MARK: - Blobs

    func newBlob() throws(ProviderError) -> Int64 {
        try run("INSERT INTO blobs(refs) VALUES(0)")
        return lastInsertRowID
    }

    func retain(_ content: [Segment]) throws(ProviderError) {
        for case .blob(let number) in content.map(\.source) {
            try run("UPDATE blobs SET refs = refs + 1 WHERE id = ?1", [.int(number)])
        }
    }

    /// Drops the references of `content`; answers the blobs left without any.
    func release(_ content: [Segment]) throws(ProviderError) -> [Int64] {
        var freed: [Int64] = []
        for case .blob(let number) in content.map(\.source) {
            try run("UPDATE blobs SET refs = refs - 1 WHERE id = ?1", [.int(number)])
            try run("DELETE FROM blobs WHERE id = ?1 AND refs <= 0", [.int(number)])
            if changes > 0 { freed.append(number) }
        }
        return freed
    }

    /// Forgets the blobs of uploads that a stopped emulator left unfinished.
    func dropUnusedBlobs() throws(ProviderError) {
        try run("DELETE FROM blobs WHERE refs <= 0")
    }

    func blobs() throws(ProviderError) -> Set<Int64> {
        Set(try rows("SELECT id FROM blobs") { $0.int64(0) })
    }
}

/// The versions of a bucket in listing order: keys by their bytes, the newest version first.
struct VersionCursor: KeyCursor {
    private let tables: CatalogTables
    private let bucket: Int64
    /// Delete markers and older versions too.
    private let isComplete: Bool
    private var statement: Statement?
    private var previous: ObjectKey?

    init(_ tables: CatalogTables, _ bucket: Bucket, isComplete: Bool) {
        self.tables = tables
        self.bucket = bucket.id
        self.isComplete = isComplete
    }

    mutating func seek(_ key: ObjectKey, inclusive: Bool) throws(ProviderError) {
        statement?.reset()
        previous = nil
        statement = try tables.statement(
            """
            SELECT \(CatalogTables.columns) FROM versions
            WHERE bucket = ?1 AND key \(inclusive ? ">=" : ">") ?2
            ORDER BY key, sequence DESC
            """,
            [.int(bucket), .blob(key.bytes)]
        )
    }

    mutating func next() throws(ProviderError) -> (key: ObjectKey, entry: ListedVersion)? {
        guard let statement else { return nil }
        while try tables.step(statement) {
            let isLatest = previous.map { $0.bytes != statement.blob(0) } ?? true
            if !isComplete && (!isLatest || statement.int64(3) != 0) {
                if isLatest { previous = ObjectKey(statement.blob(0)) }
                continue
            }
            let version = try ObjectVersion(row: statement, isWhole: false)
            previous = version.key
            return (version.key, ListedVersion(version: version, isLatest: isLatest))
        }
        self.statement = nil
        return nil
    }

    func finish() { statement?.reset() }
}

/// A version without its headers and content, as listings need it.
struct ListedVersion: Sendable {
    var version: ObjectVersion
    var isLatest: Bool
}

extension ObjectVersion {
    fileprivate init(row: Statement, isWhole: Bool) throws(ProviderError) {
        func time(_ column: Int) -> Timestamp? {
            row.isNull(column) ? nil : Timestamp(nanoseconds: row.int64(column))
        }
        let restore = time(9).map { ready in
            ArchiveRecord.Restore(
                ready: ready,
                expiry: time(10),
                tier: RestoreTier(rawValue: row.text(11)),
                fails: row.int64(12) != 0
            )
        }
        self.init(
            key: ObjectKey(row.blob(0)),
            versionID: row.text(2),
            sequence: row.int64(1),
            isDeleteMarker: row.int64(3) != 0,
            sizeBytes: row.uint64(4),
            etag: row.text(5),
            modified: Timestamp(nanoseconds: row.int64(6)),
            archive: ArchiveRecord(
                storageClass: StorageClass(row.text(7)),
                archiveStatus: row.isNull(8) ? nil : row.text(8),
                restore: restore
            )
        )
        guard isWhole else { return }
        crc64 = row.isNull(13) ? nil : row.uint64(13)
        headers = HeaderText.decode(row.text(14))
        guard let content = [Segment](text: row.text(15)) else {
            throw .internalError("unreadable content column")
        }
        self.content = content
    }
}

/// Headers in one column: `name: value` lines. Values hold no line feed, by HTTP's rules.
enum HeaderText {
    static func encode(_ headers: [(name: String, value: String)]) -> String {
        headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
    }

    static func decode(_ text: String) -> [(name: String, value: String)] {
        text.split(separator: "\n").compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (String(line[..<colon]), String(line[colon...].dropFirst(2)))
        }
    }
}
