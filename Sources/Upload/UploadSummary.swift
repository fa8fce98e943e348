package import Glibc
package import Metadata
package import ThawCore

/// A file that the mount has accepted and the store does not have yet; for people. What is open and was neither closed
/// nor synced is not accepted.
package struct UploadSummary: Sendable, Equatable {
    package enum Stage: String, Sendable, CaseIterable {
        case waiting
        case uploading
        /// It will be tried again; `error` says what was wrong.
        case failed
        /// It was given up, and is kept for `thawfs cache recover`; `error` says why.
        case kept
    }

    package var key: ObjectKey
    /// Of the file.
    package var sizeBytes: UInt64
    /// What the store has of it.
    package var sentBytes: UInt64
    package var stage: Stage
    /// When the oldest change that is not in the store was made.
    package var since: Timestamp
    /// What went wrong last, with the provider's code.
    package var error: String?
    package var stagingPath: String
    /// The staging file holds all of the content, not only what was changed.
    package var isComplete: Bool
    /// What of the content the staging file holds, sorted; not told where it is all.
    package var ranges: [Range<UInt64>]

    package init(
        key: ObjectKey, sizeBytes: UInt64, sentBytes: UInt64, stage: Stage, since: Timestamp, error: String? = nil,
        stagingPath: String, isComplete: Bool, ranges: [Range<UInt64>] = []
    ) {
        self.key = key
        self.sizeBytes = sizeBytes
        self.sentBytes = sentBytes
        self.stage = stage
        self.since = since
        self.error = error
        self.stagingPath = stagingPath
        self.isComplete = isComplete
        self.ranges = ranges
    }
}

extension UploadSummary {
    /// A staging file that was set aside, because no journal says what it is of.
    package init(lost name: String, _ status: stat, in directory: String) {
        self.init(
            key: ObjectKey("lost/" + name), sizeBytes: UInt64(status.st_size), sentBytes: 0, stage: .kept,
            since: Timestamp(seconds: Int64(status.st_mtim.tv_sec)),
            error: "the metadata store was lost, and nobody knows of which file this is",
            stagingPath: directory + "/" + name, isComplete: true)
    }

    /// What the journal says of a file that nobody is storing. `directory` is that of the staging files.
    package init(_ pending: PendingUpload, in directory: String) {
        var written = Extents()
        for range in pending.extents { written.insert(range) }
        let isComplete = written.contains(0..<(pending.base?.end ?? 0))
        let isKept = pending.acceptedAt == .epoch
        self.init(
            key: pending.key, sizeBytes: pending.sizeBytes, sentBytes: 0,
            stage: isKept ? .kept : pending.failure == nil ? .waiting : .failed,
            since: isKept ? pending.failure?.at ?? .epoch : pending.acceptedAt, error: pending.failure?.text,
            stagingPath: directory + "/" + pending.staging, isComplete: isComplete,
            ranges: isComplete ? [] : pending.extents)
    }
}
