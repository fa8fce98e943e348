package import ThawCore
package import Wire

/// Objects on their way into a `CacheLoad`, some thousands at once: keys and ETags one after the other in `bytes`.
package struct LoadBatch: Sendable {
    package struct Row: Sendable {
        package var keyBytes: Int
        /// With its quotes.
        package var etagBytes: Int
        package var sizeBytes: UInt64
        package var modified: Timestamp
        /// Among `classes`.
        package var storageClass: Int
        package var archiveStatus: ArchiveStatus?

        package init(
            keyBytes: Int, etagBytes: Int, sizeBytes: UInt64, modified: Timestamp, storageClass: Int,
            archiveStatus: ArchiveStatus? = nil
        ) {
            self.keyBytes = keyBytes
            self.etagBytes = etagBytes
            self.sizeBytes = sizeBytes
            self.modified = modified
            self.storageClass = storageClass
            self.archiveStatus = archiveStatus
        }
    }

    /// S3 Intelligent-Tiering's, while archived.
    package enum ArchiveStatus: String, Sendable {
        case archiveAccess = "ARCHIVE_ACCESS"
        case deepArchiveAccess = "DEEP_ARCHIVE_ACCESS"
        /// Only a HEAD tells (IBM COS).
        case unlisted = "UNLISTED"
    }

    package var bytes: [UInt8] = []
    package var rows: [Row] = []
    /// A class keeps its place in all batches of a load.
    package var classes: [StorageClass]

    package init(classes: [StorageClass]) { self.classes = classes }
}
