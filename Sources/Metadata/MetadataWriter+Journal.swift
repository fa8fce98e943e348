internal import Database
package import ObjectStore
package import ThawCore
internal import Wire

/// The journal of writing: what was promised to a writer, or would be left behind in the bucket, is on the disk before
/// anybody acts on it. Where nothing else is said, it is when the call returns.
extension MetadataWriter {
    // MARK: Uploads

    /// Accepts the file's content; what was accepted before under this key is replaced. One that was never accepted,
    /// or is not any more (`acceptedAt` is the epoch), is kept beside all others of its key. Answers the row's id.
    @discardableResult
    package func journal(_ upload: PendingUpload) throws(MetadataError) -> Int64 {
        try committing(.full) { connection, _ throws(DatabaseError) in
            if upload.acceptedAt == .epoch {
                _ = try Self.change(connection, "DELETE FROM upload WHERE staging = ?1", .text(upload.staging))
            }
            let values = (2...22).map { "?\($0)" }.joined(separator: ", ")
            let columns = uploadColumns.dropFirst("id, ".count)
            let insert = try connection.prepare("INSERT OR REPLACE INTO upload(\(columns)) VALUES(\(values))")
            try insert.bindUpload(upload)
            try insert.run()
            return connection.lastInsertRowID
        }
    }

    /// The content is in the store, and `row` tells what is there now. Answers false when the row is gone: there is
    /// newer content under this key, or it was dropped.
    @discardableResult
    package func finishUpload(
        _ id: Int64, _ row: MetadataRow, below prefix: ObjectKey
    ) throws(MetadataError) -> Bool {
        try committing(.full) { connection, statements throws(DatabaseError) in
            try Self.record([row], below: prefix, listing: 0, statements)
            return try Self.change(connection, "DELETE FROM upload WHERE id = ?1", .integer(id))
        }
    }

    /// It was tried and did not succeed. A power loss may undo this note.
    package func failUpload(_ id: Int64, _ failure: PendingUpload.Failure) throws(MetadataError) {
        _ = try committing(.normal) { connection, _ throws(DatabaseError) in
            try Self.change(
                connection, "UPDATE upload SET error = ?2, error_at = ?3 WHERE id = ?1", .integer(id),
                .text(failure.text), .integer(failure.at.nanoseconds))
        }
    }

    /// The content is not wanted any more: it was unlinked, or somebody saved it by hand.
    @discardableResult
    package func dropUpload(_ id: Int64) throws(MetadataError) -> Bool {
        try committing(.full) { connection, _ throws(DatabaseError) in
            try Self.change(connection, "DELETE FROM upload WHERE id = ?1", .integer(id))
        }
    }

    /// All staging files are in the journal now, or set aside.
    package func finishMissedUploads() throws(MetadataError) {
        try committing(.full) { connection, _ throws(DatabaseError) in try connection.setApplicationID(0) }
    }

    /// The file was renamed before it was uploaded: it is to be stored under the other key, on this condition. What was
    /// accepted under that key is replaced. Answers false when the row is gone.
    @discardableResult
    package func renameUpload(
        _ id: Int64, to key: ObjectKey, _ condition: WriteCondition
    ) throws(MetadataError) -> Bool {
        try committing(.full) { connection, _ throws(DatabaseError) in
            let update = try connection.prepare(
                "UPDATE OR REPLACE upload SET key = ?2, condition = ?18, condition_etag = ?19 WHERE id = ?1")
            try update.bind(id, at: 1)
            try update.bind(key.bytes, at: 2)
            try update.bind(condition)
            try update.run()
            return connection.changes > 0
        }
    }

    // MARK: Uploads in parts

    /// An upload in parts was begun. A power loss may undo this note, and the one that it ended.
    package func note(_ upload: MultipartUpload) throws(MetadataError) {
        _ = try committing(.normal) { connection, _ throws(DatabaseError) in
            try Self.change(
                connection, "INSERT OR IGNORE INTO multipart VALUES(?1, ?2)", .bytes(upload.key.bytes), .text(upload.id))
        }
    }

    /// It was completed, or aborted.
    package func drop(_ upload: MultipartUpload) throws(MetadataError) {
        _ = try committing(.normal) { connection, _ throws(DatabaseError) in
            try Self.change(
                connection, "DELETE FROM multipart WHERE key = ?1 AND upload = ?2", .bytes(upload.key.bytes),
                .text(upload.id))
        }
    }

    // MARK: Copies of deleted objects

    /// Call it before the copy is made.
    package func addHidden(_ key: ObjectKey) throws(MetadataError) {
        _ = try committing(.full) { connection, _ throws(DatabaseError) in
            try Self.change(connection, "INSERT OR IGNORE INTO hidden VALUES(?1)", .bytes(key.bytes))
        }
    }

    /// The copy is deleted. A power loss may undo this note.
    package func dropHidden(_ key: ObjectKey) throws(MetadataError) {
        _ = try committing(.normal) { connection, _ throws(DatabaseError) in
            try Self.change(connection, "DELETE FROM hidden WHERE key = ?1", .bytes(key.bytes))
        }
    }

    // MARK: Renames

    /// A rename begins to copy. `replacesMarker`: the target's marker, or the object that is the target, is there
    /// already. Answers its id.
    package func beginRename(
        _ source: ObjectKey, to target: ObjectKey, replacesMarker: Bool
    ) throws(MetadataError) -> RenameRow {
        try committing(.full) { connection, _ throws(DatabaseError) in
            _ = try Self.change(
                connection, "INSERT INTO rename(source, target, stage, replaces) VALUES(?1, ?2, 0, ?3)",
                .bytes(source.bytes), .bytes(target.bytes), .integer(replacesMarker ? 1 : 0))
            return RenameRow(
                id: connection.lastInsertRowID, source: source, target: target, stage: .copying,
                replacesMarker: replacesMarker)
        }
    }

    package func advanceRename(_ id: Int64, to stage: RenameRow.Stage) throws(MetadataError) {
        _ = try committing(.full) { connection, _ throws(DatabaseError) in
            try Self.change(
                connection, "UPDATE rename SET stage = ?2 WHERE id = ?1", .integer(id), .integer(stage.rawValue))
        }
    }

    /// Nothing is left to be done for it.
    package func finishRename(_ id: Int64) throws(MetadataError) {
        _ = try committing(.full) { connection, _ throws(DatabaseError) in
            try Self.change(connection, "DELETE FROM rename WHERE id = ?1", .integer(id))
        }
    }

    // MARK: Attributes of frozen objects

    /// Keeps attributes until they can be written to the object; those that were kept for it before are replaced.
    package func `defer`(_ deferred: DeferredAttributes) throws(MetadataError) {
        try committing(.full) { connection, _ throws(DatabaseError) in
            let insert = try connection.prepare(
                "INSERT OR REPLACE INTO deferred VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            try insert.bind(deferred.key.bytes, at: 1)
            try insert.bind(deferred.etag, at: 2)
            try insert.bind(deferred.attributes, at: 3)
            try insert.run()
        }
    }

    /// They are written, or the object is gone or replaced. Answers false when others were set meanwhile, which stay.
    @discardableResult
    package func finishDeferred(_ deferred: DeferredAttributes) throws(MetadataError) -> Bool {
        try committing(.full) { connection, _ throws(DatabaseError) in
            let same = attributeColumns.split(separator: ", ").enumerated().map { "\($1) IS ?\($0 + 3)" }
            let delete = try connection.prepare(
                "DELETE FROM deferred WHERE key = ?1 AND etag = ?2 AND \(same.joined(separator: " AND "))")
            try delete.bind(deferred.key.bytes, at: 1)
            try delete.bind(deferred.etag, at: 2)
            try delete.bind(deferred.attributes, at: 3)
            try delete.run()
            return connection.changes > 0
        }
    }

    // MARK: Statements

    private enum Value {
        case integer(Int64)
        case text(String)
        case bytes([UInt8])
    }

    /// Runs a statement that is not run often; tells whether it changed anything.
    private static func change(
        _ connection: Connection, _ sql: String, _ values: Value...
    ) throws(DatabaseError) -> Bool {
        let statement = try connection.prepare(sql)
        for (index, value) in values.enumerated() {
            switch value {
            case .integer(let integer): try statement.bind(integer, at: index + 1)
            case .text(let text): try statement.bind(text, at: index + 1)
            case .bytes(let bytes): try statement.bind(bytes, at: index + 1)
            }
        }
        try statement.run()
        return connection.changes > 0
    }
}
