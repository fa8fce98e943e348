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
    /// Somebody took the object out of care (`setfattr -x user.thaw.restore`).
    case cancelled
    /// Reads have had as much restored as `restore_budget` allows.
    case overBudget
    /// There is nothing under care that could be cancelled.
    case nothingToCancel
    /// The object went away while it was being restored.
    case gone
    /// The provider ended the restore without a readable copy.
    case failed(String)
    /// The store refused or could not be reached.
    case store(StoreError)
    /// The queue cannot be read or written, so nothing was sent.
    case notRemembered(String)
}
