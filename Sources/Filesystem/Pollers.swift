internal import Synchronization

/// Who polls open files, and is to be told when one can be read. One lock, a leaf; nobody is told under it.
///
/// The latest poller of each handle stays until the handle is closed, whatever it was answered: one that waits for
/// edges (`EPOLLET`, as the Go runtime does) polls once and never again, and may meet `EAGAIN` much later.
final class Pollers: Sendable {
    typealias Notice = @Sendable () -> Void

    private struct Poller {
        let notice: Notice
        /// It was told to wait, or a read has answered `EAGAIN` since.
        var isOwed: Bool
    }

    private struct State {
        /// By inode, then by handle.
        var files: [UInt64: [UInt64: Poller]] = [:]
        var hasEnded = false
    }

    private let state = Mutex<State>(State())

    /// In place of the handle's earlier one. It is owed a notice until `settle` says that it got an answer.
    func add(_ handle: UInt64, of inode: UInt64, _ notice: @escaping Notice) {
        state.withLock { $0.files[inode, default: [:]][handle] = Poller(notice: notice, isOwed: true) }
    }

    func settle(_ handle: UInt64, of inode: UInt64) {
        state.withLock { $0.files[inode]?[handle]?.isOwed = false }
    }

    /// A reader of the file may be sent away: whoever polls it is owed a notice.
    func owe(_ inode: UInt64) {
        state.withLock { state in
            guard let handles = state.files[inode]?.keys else { return }
            for handle in handles { state.files[inode]?[handle]?.isOwed = true }
        }
    }

    /// The handles of a file whose pollers are owed a notice.
    func owed(_ inode: UInt64) -> [UInt64] {
        state.withLock { state in (state.files[inode] ?? [:]).compactMap { $1.isOwed ? $0 : nil } }
    }

    /// The notice that the handle's poller is owed; from now on it is not.
    func take(_ handle: UInt64, of inode: UInt64) -> Notice? {
        state.withLock { state in
            guard let poller = state.files[inode]?[handle], poller.isOwed else { return nil }
            state.files[inode]?[handle]?.isOwed = false
            return poller.notice
        }
    }

    func remove(_ handle: UInt64, of inode: UInt64) {
        // Dropped after the lock: a notice may own what takes a while to go.
        let removed = state.withLock { state in
            let removed = state.files[inode]?.removeValue(forKey: handle)
            if state.files[inode]?.isEmpty ?? false { state.files[inode] = nil }
            return removed
        }
        withExtendedLifetime(removed) {}
    }

    var isEmpty: Bool { state.withLock { $0.files.isEmpty } }

    /// The files that were ever polled and are open.
    var inodes: [UInt64] { state.withLock { Array($0.files.keys) } }

    func arePolling(_ inode: UInt64) -> Bool { state.withLock { $0.files[inode] != nil } }

    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// Nobody is to wait any more. Answers everybody's notices.
    func end() -> [Notice] {
        state.withLock { state in
            state.hasEnded = true
            return state.files.values.flatMap { $0.values.map(\.notice) }
        }
    }
}
