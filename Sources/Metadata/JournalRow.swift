internal import Database
package import ObjectStore
package import ThawCore
package import Wire

/// A file whose content was accepted and is not in the store yet.
package struct PendingUpload: Sendable, Equatable {
    /// The object that the file is a change of: its bytes count where the staging file has none.
    package struct Base: Sendable, Equatable {
        package var key: ObjectKey
        package var version: String?
        package var etag: String
        package var sizeBytes: UInt64
        /// Its bytes count up to here; what is beyond, and not in the staging file, is zeros.
        package var end: UInt64

        /// - Parameter end: nil: all of the object counts
        package init(key: ObjectKey, version: String? = nil, etag: String, sizeBytes: UInt64, end: UInt64? = nil) {
            self.key = key
            self.version = version
            self.etag = etag
            self.sizeBytes = sizeBytes
            self.end = end ?? sizeBytes
        }
    }

    /// Why it was not uploaded when that was tried last.
    package struct Failure: Sendable, Equatable {
        package var text: String
        package var at: Timestamp

        package init(text: String, at: Timestamp) {
            self.text = text
            self.at = at
        }
    }

    /// Of the journal's row; 0 before it is there. Never used again.
    package var id: Int64 = 0
    package var key: ObjectKey
    /// The name of the file in the staging directory.
    package var staging: String
    package var sizeBytes: UInt64
    package var base: Base?
    /// The ranges of bytes that the staging file has, sorted.
    package var extents: [Range<UInt64>]
    package var attributes: FileAttributes
    /// What else the object carries, besides `attributes`.
    package var headers: ObjectHeaders
    /// Nil for the bucket's own.
    package var storageClass: StorageClass?
    package var condition: WriteCondition
    package var acceptedAt: Timestamp
    package var failure: Failure?

    package init(
        key: ObjectKey, staging: String, sizeBytes: UInt64, base: Base? = nil, extents: [Range<UInt64>],
        attributes: FileAttributes, headers: ObjectHeaders = ObjectHeaders(), storageClass: StorageClass? = nil,
        condition: WriteCondition = .always, acceptedAt: Timestamp
    ) {
        self.key = key
        self.staging = staging
        self.sizeBytes = sizeBytes
        self.base = base
        self.extents = extents
        self.attributes = attributes
        self.headers = headers
        self.storageClass = storageClass
        self.condition = condition
        self.acceptedAt = acceptedAt
    }
}

/// A directory, or an object, that is on its way from one key to another.
package struct RenameRow: Sendable, Equatable {
    package enum Stage: Int64, Sendable {
        /// Objects are being copied; the source is whole.
        case copying = 0
        /// The target is whole; the source is being deleted.
        case deleting
        /// It was given up: the source is whole, and the copies are being deleted.
        case undoing
    }

    package var id: Int64
    package var source: ObjectKey
    package var target: ObjectKey
    package var stage: Stage
    /// The target was an empty directory with a marker before, or an object.
    package var replacesMarker: Bool

    package init(id: Int64, source: ObjectKey, target: ObjectKey, stage: Stage, replacesMarker: Bool) {
        self.id = id
        self.source = source
        self.target = target
        self.stage = stage
        self.replacesMarker = replacesMarker
    }
}

/// What an earlier mount has left in the bucket, to be taken up beside what this one begins.
package struct JournalLeftovers: Sendable {
    /// The oldest first.
    package let renames: [RenameRow]
    package let multiparts: [MultipartUpload]
    /// Keys of copies of deleted objects.
    package let hiddenKeys: [ObjectKey]
    /// The oldest first.
    package let uploads: [PendingUpload]
    /// The file was begun anew: staging files that `uploads` does not name may have been accepted all the same.
    package let mayMissUploads: Bool

    init(_ connection: Connection) throws(DatabaseError) {
        renames = try connection.renames()
        multiparts = try connection.multiparts()
        hiddenKeys = try connection.hiddenKeys()
        uploads = try connection.pendingUploads()
        mayMissUploads = try connection.applicationID == Schema.mayMissUploads
    }
}

/// Attributes of a frozen object that were changed here, until they can be written to it.
package struct DeferredAttributes: Sendable, Equatable {
    package var key: ObjectKey
    /// Of the object they are for; one with another ETag has nothing to do with them.
    package var etag: String
    package var attributes: FileAttributes

    package init(key: ObjectKey, etag: String, attributes: FileAttributes) {
        self.key = key
        self.etag = etag
        self.attributes = attributes
    }
}
