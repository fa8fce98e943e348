package import ThawCore

/// A restore job of Cloud Backup that was wished for, and what is known of it.
package struct BackupRow: Sendable, Equatable {
    package enum Stage: Int64, Sendable {
        /// It is to be made, or it may have been.
        case wished = 0
        /// The service has it.
        case underWay
        /// It is to be cancelled, whether or not it is known yet.
        case cancelling
        /// Nothing more happens to it.
        case ended
    }

    /// Of the row; 0 before it is there. Never used again.
    package var id: Int64 = 0
    /// The directory below which the files are to appear.
    package var prefix: ObjectKey
    package var vault: String
    package var snapshot: String
    package var include: [String]
    package var exclude: [String]
    package var wishedAt: Timestamp
    package var stage: Stage = .wished
    /// The service's id for it.
    package var job: String?
    /// The service's word for how it stands.
    package var status: String?
    package var error: String?
    /// Where the service lists what was not restored.
    package var errorFile: String?
    /// The epoch until it has ended.
    package var endedAt: Timestamp = .epoch

    package init(
        prefix: ObjectKey, vault: String, snapshot: String, include: [String], exclude: [String], wishedAt: Timestamp
    ) {
        self.prefix = prefix
        self.vault = vault
        self.snapshot = snapshot
        self.include = include
        self.exclude = exclude
        self.wishedAt = wishedAt
    }
}
