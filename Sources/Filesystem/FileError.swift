package import ObjectStore
package import Restore

/// Why an operation failed, in a filesystem's terms. `Mount` has the one table to errno.
package enum FileError: Error, Sendable, Equatable {
    case noSuchEntry
    case isDirectory
    case notDirectory
    case nameTooLong
    /// The object was replaced while it was open.
    case stale
    /// Frozen, and it will not be waited for; the restore has been started.
    case frozen
    /// Frozen, and reads of this mount, or of this process, never restore.
    case restoreRefused
    /// The wait for a restore, or for the store, ran out.
    case timedOut
    case interrupted
    /// Somebody cancelled the restore that was waited for.
    case cancelled
    /// Reads have had restored what `restore_budget` allows.
    case overBudget
    /// The store said no to who we are.
    case denied
    /// An extended attribute that does not exist.
    case noSuchAttribute
    /// An attribute, or an operation on one, that this filesystem does not have.
    case unsupported
    /// The value of a command attribute does not parse, or asks for what the class does not allow.
    case invalid
    /// The object's class needs no restore.
    case notArchived
    /// The value is longer than the caller's buffer.
    case tooSmall
    case io
    /// The mount, or this part of it, only reads.
    case readOnly
    case alreadyExists
    case notEmpty
    /// What needs a copy at the store cannot be done to a frozen object.
    case busy
    /// Retention or object lock forbids it.
    case notPermitted
    /// The staging area, or the disk under it, is full.
    case noSpace
    /// An attribute's value is longer than the kernel passes on.
    case tooLongForAttribute
    /// Larger than a file, or an object, can be.
    case tooLarge
    /// Not on this filesystem: a rename out of what one store can copy.
    case crossesStores

    package init(_ error: StoreError) {
        switch error.kind {
        case .noSuchKey, .noSuchBucket: self = .noSuchEntry
        case .preconditionFailed: self = .stale
        case .denied, .clockSkew: self = .denied
        case .timeout: self = .timedOut
        case .cancelled: self = .interrupted
        // A surprise: the caller turns it into what `on_frozen` says before it comes here.
        case .invalidObjectState: self = .timedOut
        case .notArchived: self = .notArchived
        case .unsupported: self = .unsupported
        case .keyTooLong: self = .nameTooLong
        case .protected: self = .notPermitted
        case .notEmpty: self = .notEmpty
        case .noSuchConfiguration: self = .noSuchAttribute
        case .elsewhere: self = .crossesStores
        case .invalidRange, .tierUnavailable, .invalidRequest, .throttled, .unavailable, .nonsense, .corrupted,
            .noSuchUpload, .unreadable:
            self = .io
        }
    }

    package init(_ error: RestoreError) {
        switch error {
        case .notArchived: self = .notArchived
        case .invalidOrder: self = .invalid
        case .timedOut: self = .timedOut
        case .interrupted: self = .interrupted
        case .cancelled: self = .cancelled
        case .overBudget: self = .overBudget
        case .nothingToCancel: self = .noSuchAttribute
        case .gone: self = .noSuchEntry
        case .failed, .notRemembered: self = .io
        case .store(let error): self = FileError(error)
        }
    }
}
