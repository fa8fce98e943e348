internal import Database
package import ObjectStore
package import ThawCore
internal import Wire

/// What the journal of writing has.
extension MetadataReader {
    /// The oldest first.
    package func pendingUploads() throws(MetadataError) -> [PendingUpload] {
        try guarded { statements throws(DatabaseError) in try statements.connection.pendingUploads() }
    }

    /// Uploads in parts that nobody has ended.
    package func multiparts() throws(MetadataError) -> [MultipartUpload] {
        try guarded { statements throws(DatabaseError) in try statements.connection.multiparts() }
    }

    /// Keys of copies of deleted objects.
    package func hiddenKeys() throws(MetadataError) -> [ObjectKey] {
        try guarded { statements throws(DatabaseError) in try statements.connection.hiddenKeys() }
    }

    /// Renames that have not come to their end, the oldest first.
    package func renames() throws(MetadataError) -> [RenameRow] {
        try guarded { statements throws(DatabaseError) in try statements.connection.renames() }
    }

    /// The attributes that are kept for the object.
    package func deferredAttributes(of key: ObjectKey) throws(MetadataError) -> DeferredAttributes? {
        try guarded { statements throws(DatabaseError) in
            let query = try statements.connection.prepare("SELECT \(Self.deferredColumns) WHERE key = ?1")
            try query.bind(key.bytes, at: 1)
            return try query.first { $0.deferredAttributes() }
        }
    }

    package func deferredAttributes() throws(MetadataError) -> [DeferredAttributes] {
        try guarded { statements throws(DatabaseError) in
            try statements.connection.rows("SELECT \(Self.deferredColumns) ORDER BY key") { $0.deferredAttributes() }
        }
    }

    private static let deferredColumns = "key, etag, \(attributeColumns) FROM deferred"
}

extension Connection {
    func pendingUploads() throws(DatabaseError) -> [PendingUpload] {
        try rows("SELECT \(uploadColumns) FROM upload ORDER BY id") { $0.pendingUpload() }
    }

    func multiparts() throws(DatabaseError) -> [MultipartUpload] {
        try rows("SELECT key, upload FROM multipart ORDER BY key, upload") {
            MultipartUpload(key: ObjectKey($0.blob(0)), id: $0.text(1))
        }
    }

    func hiddenKeys() throws(DatabaseError) -> [ObjectKey] {
        try rows("SELECT key FROM hidden ORDER BY key") { ObjectKey($0.blob(0)) }
    }

    func renames() throws(DatabaseError) -> [RenameRow] {
        try rows("SELECT id, source, target, stage, replaces FROM rename ORDER BY id") {
            RenameRow(
                id: $0.int64(0), source: ObjectKey($0.blob(1)), target: ObjectKey($0.blob(2)),
                stage: RenameRow.Stage(rawValue: $0.int64(3)) ?? .copying, replacesMarker: $0.int64(4) != 0)
        }
    }
}

extension Statement {
    fileprivate func deferredAttributes() -> DeferredAttributes {
        DeferredAttributes(key: ObjectKey(blob(0)), etag: text(1), attributes: fileAttributes(2))
    }
}
