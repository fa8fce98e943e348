package import ThawCore
package import Wire

/// What decides whether one version of an object can be read.
///
/// | stored                        | now                  | state        |
/// |-------------------------------|----------------------|--------------|
/// | class without archive rules   | any                  | online       |
/// | archive class, no restore     | any                  | frozen       |
/// | restore                       | before `ready`       | restoring    |
/// | restore                       | `ready` to `expiry`  | restored     |
/// | restore                       | from `expiry` on     | frozen       |
/// | restore that fails            | from `ready` on      | frozen       |
/// | archived Intelligent-Tiering  | no restore           | frozen       |
/// | archived Intelligent-Tiering  | from `ready` on      | online       |
package struct ArchiveRecord: Sendable, Equatable {
    package var storageClass: StorageClass
    /// `ARCHIVE_ACCESS` or `DEEP_ARCHIVE_ACCESS` for an archived object of class `INTELLIGENT_TIERING`.
    package var archiveStatus: String?
    package var restore: Restore?

    package init(storageClass: StorageClass, archiveStatus: String? = nil, restore: Restore? = nil) {
        self.storageClass = storageClass
        self.archiveStatus = archiveStatus
        self.restore = restore
    }

    /// A restore that was asked for.
    package struct Restore: Sendable, Equatable {
        /// When the copy becomes readable.
        package var ready: Timestamp
        /// When the copy is gone; nil for one that stays (Intelligent-Tiering).
        package var expiry: Timestamp?
        package var tier: RestoreTier?
        /// The provider gives up at `ready`.
        package var fails: Bool

        package init(ready: Timestamp, expiry: Timestamp?, tier: RestoreTier?, fails: Bool = false) {
            self.ready = ready
            self.expiry = expiry
            self.tier = tier
            self.fails = fails
        }
    }

    package enum State: Sendable, Equatable {
        case online
        case frozen
        case restoring
        case restored(until: Timestamp)
    }

    package func state(at now: Timestamp) -> State {
        guard rules(nil) != nil else { return .online }
        guard let restore else { return .frozen }
        if now < restore.ready { return .restoring }
        if restore.fails { return .frozen }
        guard let expiry = restore.expiry else { return .online }
        return now < expiry ? .restored(until: expiry) : .frozen
    }

    /// The header or listing element that tells the state; nil when there is nothing to tell.
    package func restoreHeader(at now: Timestamp) -> RestoreHeader? {
        switch state(at: now) {
        case .online, .frozen: nil
        case .restoring: .ongoing
        case .restored(let expiry): .restored(until: expiry)
        }
    }

    /// `x-amz-archive-status`, which goes away when the object is back.
    package func archiveStatus(at now: Timestamp) -> String? {
        state(at: now) == .online ? nil : archiveStatus
    }

    /// The class's rules in this dialect, and if that has no such class, in whichever has: a bucket is served in all.
    package func rules(_ dialect: Dialect?) -> ArchiveRules? {
        switch archiveStatus {
        case "ARCHIVE_ACCESS"?: StorageClass("GLACIER").archiveRules(.s3)
        case "DEEP_ARCHIVE_ACCESS"?: StorageClass("DEEP_ARCHIVE").archiveRules(.s3)
        default:
            dialect.flatMap { storageClass.archiveRules($0) }
                ?? Dialect.allCases.lazy.compactMap { storageClass.archiveRules($0) }.first
        }
    }
}
