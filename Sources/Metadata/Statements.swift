internal import Database
internal import ObjectStore
internal import ThawCore
internal import Wire

/// Column order of every query that reads entries.
let entryColumns = """
    segment, checked_at, kind, size, modified, etag, class, restore, expiry, archive, version, attributes_known, \
    \(attributeColumns)
    """

extension Statement {
    /// Reads the current row of a query over `entryColumns`.
    func metadataRow() -> MetadataRow {
        let kind: MetadataRow.Kind =
            switch int64(2) {
            case 1: .object(objectRecord())
            case 2: .directory(knownAttributes())
            default: .absent
            }
        return MetadataRow(segment: blob(0), kind: kind, checkedAt: Timestamp(nanoseconds: int64(1)))
    }

    private func objectRecord() -> ObjectRecord {
        let restore: RestoreHeader? =
            switch int64(7) {
            case 1: .ongoing
            case 2: .restored(until: int64(8) == 0 ? nil : Timestamp(nanoseconds: int64(8)))
            default: nil
            }
        return ObjectRecord(
            sizeBytes: uint64(3), modified: Timestamp(nanoseconds: int64(4)), etag: text(5),
            storageClass: StorageClass(text(6)), restore: restore, archiveStatus: isNull(9) ? nil : text(9),
            versionID: isNull(10) ? nil : text(10), attributes: knownAttributes())
    }

    private func knownAttributes() -> FileAttributes? { int64(11) == 0 ? nil : fileAttributes(12) }

    /// Binds an entry to `?1…?19` of the upsert.
    func bindEntry(directory: Int64, listing: Int64, _ row: MetadataRow) throws(DatabaseError) {
        try bind(directory, at: 1)
        try bind(row.segment, at: 2)
        try bind(listing, at: 3)
        try bind(row.checkedAt.nanoseconds, at: 4)
        let attributes: FileAttributes?
        switch row.kind {
        case .absent:
            attributes = nil
            try bindNoObject(kind: 0)
        case .directory(let known):
            attributes = known
            try bindNoObject(kind: 2)
        case .object(let record):
            attributes = record.attributes
            try bindObject(record)
        }
        try bind(attributes == nil ? 0 : 1, at: 14)
        try bind(attributes, at: 15)
    }

    private func bindNoObject(kind: Int) throws(DatabaseError) {
        try bind(kind, at: 5)
        for column in 6...9 { try bindNull(at: column) }
        for column in 10...11 { try bind(0, at: column) }
        for column in 12...13 { try bindNull(at: column) }
    }

    private func bindObject(_ record: ObjectRecord) throws(DatabaseError) {
        try bind(1, at: 5)
        try bind(Int64(clamping: record.sizeBytes), at: 6)
        try bind(record.modified.nanoseconds, at: 7)
        try bind(record.etag, at: 8)
        try bind(record.storageClass.name, at: 9)
        switch record.restore {
        case nil:
            try bind(Int64(0), at: 10)
            try bind(Int64(0), at: 11)
        case .ongoing:
            try bind(Int64(1), at: 10)
            try bind(Int64(0), at: 11)
        case .restored(let until):
            try bind(Int64(2), at: 10)
            try bind(until?.nanoseconds ?? 0, at: 11)
        }
        try bind(record.archiveStatus, at: 12)
        try bind(record.versionID, at: 13)
    }
}

/// The statements of the writing connection, compiled once.
struct WriteStatements {
    let ensureDirectory: Statement
    let directory: Statement
    let upsert: Statement
    let beginListing: Statement
    let beginUnlessNewer: Statement
    let finishListing: Statement
    let dropUnlisted: Statement
    let expireDirectory: Statement
    let expireEntries: Statement
    let expireEntry: Statement
    let restores: RestoreStatements

    init(_ connection: Connection) throws(DatabaseError) {
        ensureDirectory = try connection.prepare("INSERT INTO directory(prefix) VALUES(?1) ON CONFLICT DO NOTHING")
        directory = try connection.prepare("SELECT id, emptied_at FROM directory WHERE prefix = ?1")
        // A page of a listing is older than what a HEAD learned while it was on its way, unless the clock was set back.
        // And it does not tell Intelligent-Tiering's archive status: what a HEAD told stays while the object does. Nor
        // does it tell attributes: they stay while the ETag does and the date, which changes with them. It may be off
        // by two seconds, because that of our own writes is the date of the store's reply.
        let keepsAttributes = """
            excluded.attributes_known = 0 AND excluded.kind = kind AND (kind = 2 OR kind = 1
                AND excluded.etag IS etag AND excluded.modified <= modified + 2000000000)
            """
        let attributes = "attributes_known, \(attributeColumns)".split(separator: ", ").map {
            "\($0) = CASE WHEN \(keepsAttributes) THEN \($0) ELSE excluded.\($0) END"
        }
        upsert = try connection.prepare(
            """
            INSERT INTO entry(directory, segment, listing, checked_at, kind, size, modified, etag, class, restore,
                expiry, archive, version, attributes_known, \(attributeColumns))
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
            ON CONFLICT(directory, segment) DO UPDATE SET
                \(attributes.joined(separator: ", ")),
                archive = CASE WHEN excluded.archive IS NULL AND excluded.etag IS etag THEN archive
                    ELSE excluded.archive END,
                listing = max(listing, excluded.listing), checked_at = excluded.checked_at, kind = excluded.kind,
                size = excluded.size, modified = excluded.modified, etag = excluded.etag, class = excluded.class,
                restore = excluded.restore, expiry = excluded.expiry, version = excluded.version
            WHERE excluded.checked_at >= checked_at OR checked_at > excluded.checked_at + 60000000000
            """)
        let begin = """
            UPDATE directory SET started_at = ?2, listing = (SELECT coalesce(max(listing), 0) + 1 FROM directory)
            WHERE prefix = ?1
            """
        beginListing = try connection.prepare("\(begin) RETURNING listing")
        // What was asked for earlier does not take the place of what is newer, unless the clock was set back.
        beginUnlessNewer = try connection.prepare(
            """
            \(begin) AND max(started_at, emptied_at) NOT BETWEEN ?2 + 1 AND ?2 + 60000000000 RETURNING listing
            """)
        finishListing = try connection.prepare(
            "UPDATE directory SET listed_at = started_at WHERE prefix = ?1 AND listing = ?2 RETURNING id, started_at")
        dropUnlisted = try connection.prepare(
            "DELETE FROM entry WHERE directory = ?1 AND listing <> ?2 AND checked_at < ?3")
        // A listing that is under way must not end as if it had seen what comes from now on.
        expireDirectory = try connection.prepare(
            "UPDATE directory SET started_at = ?2, listed_at = 0, listing = listing + 1 WHERE prefix = ?1")
        expireEntries = try connection.prepare(
            "UPDATE entry SET checked_at = 0 WHERE directory = (SELECT id FROM directory WHERE prefix = ?1)")
        // What has been seen since the newest listing began stays a name of that listing.
        expireEntry = try connection.prepare(
            """
            UPDATE entry SET checked_at = 0, listing = CASE WHEN entry.checked_at >= directory.started_at
                THEN directory.listing ELSE entry.listing END
            FROM directory WHERE prefix = ?1 AND entry.directory = directory.id AND segment = ?2
            """)
        restores = try RestoreStatements(connection)
    }
}
