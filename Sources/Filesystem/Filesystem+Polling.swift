internal import ObjectStore
internal import Restore
internal import Synchronization
internal import ThawCore

/// What `poll(2)` and its kin are told of an open file.
package enum Readiness: Sendable {
    /// A read does something: it gives bytes, or takes the step that has to come first.
    case ready
    /// A restore is under way, and whoever polls is told of its end.
    case waiting
    /// A read tells what is wrong.
    case failed
}

extension Filesystem {
    /// What is known of the open file, without asking anything. `notice` is kept until the file is closed or another
    /// takes its place; it is called when the answer changes from `waiting`, and when a read that was answered
    /// `EAGAIN` is worth repeating.
    ///
    /// Never starts a restore: the Go runtime polls every file that it opens, and `select` before `read` is a habit.
    /// For the same reason a frozen file that nobody restores is `ready`, as every regular file is: its reader would
    /// sleep for ever, waiting for what only its read brings about.
    package func poll(_ handle: UInt64, notice: (@Sendable () -> Void)?) -> Readiness {
        guard let file = openFiles[handle] else { return .failed }
        // Before the look: what is learned after it is told.
        if let notice { pollers.add(handle, of: file.inode, notice) }
        let readiness = readiness(file)
        if notice != nil, readiness != .waiting { pollers.settle(handle, of: file.inode) }
        return readiness
    }

    private func readiness(_ file: FileHandle) -> Readiness {
        guard file.isFrozen.load(ordering: .acquiring) else { return .ready }
        guard let inode = inodes[file.inode], let record = inode.record, record.etag == file.record.etag else {
            return .failed
        }
        let isKnown = !inode.isKnownFrozen && !record.mayBeArchivedUnseen
        if isKnown, context.state(of: record, at: .now()).isReadable { return .ready }
        return switch inode.restore {
        case .none: .ready
        case .underWay: pollers.hasEnded ? .failed : .waiting
        case .failed: .failed
        }
    }

    /// To be called, without a lock, after anything was learned of a file that may be polled.
    func tellPollers(of number: UInt64) {
        for handle in pollers.owed(number) {
            guard let file = openFiles[handle], readiness(file) != .waiting else { continue }
            pollers.take(handle, of: number)?()
        }
    }

    /// To be called before the restore is asked for: it may end before the answer is here.
    func restoreBegins(_ key: ObjectKey, version: String?) {
        for number in knownFiles(key, version: version) { inodes.update(number) { $0.restore = .underWay } }
    }

    /// A restore of the object has ended, or could not be begun.
    func restoreEnded(_ key: ObjectKey, version: String?, _ failure: RestoreError?) {
        for number in knownFiles(key, version: version) {
            inodes.update(number) { $0.restore = failure == nil ? .none : .failed }
            tellPollers(of: number)
        }
    }

    /// What was queued there is not; whoever polls one of the others that are under way finds out by a read.
    func restoresCancelled(below prefix: ObjectKey) {
        let cancelled = inodes.withLock { inodes in
            inodes.values.filter { $0.restore == .underWay && $0.version == nil && $0.key.hasPrefix(prefix) }
        }
        for inode in cancelled {
            restoreEnded(inode.key, version: nil, .cancelled)
        }
    }

    /// Nobody polls on: the mount ends.
    package func endPolling() {
        for notice in pollers.end() { notice() }
    }
}
