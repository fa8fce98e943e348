internal import Metadata
package import ObjectStore

/// Why a restore was not asked for, or did not come to a readable copy.
package enum RestoreError: Error, Sendable {
    /// The object's class needs no restore.
    case notArchived
    /// Days, tier or text that the object's class does not take; says what it takes.
    case invalidOrder(String)
    /// The wait ran out; the restore goes on.
    case timedOut
    /// Whoever waited was interrupted, or the mount is stopping.
    case interrupted
    /// The object went away while it was being restored.
    case gone
    /// The provider ended the restore without a readable copy.
    case failed(String)
    /// The store refused or could not be reached.
    case store(StoreError)
    /// The request could not be remembered, so it was not sent.
    case notRemembered(String)
}
