internal import Backup
internal import Content
internal import Logging
internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
package import ThawCore
internal import Wire

extension Filesystem {
    /// What `open` does with a frozen object: true to open it (its reads will wait), false when it turned out to be
    /// restored; else the error that `on_frozen` says.
    func mayOpenFrozen(
        _ inode: Inode, _ record: ObjectRecord, seenAt: ContinuousClock.Instant, _ caller: Caller
    ) async throws(FileError) -> Bool {
        let (policy, key) = (configuration.frozen, inode.key)
        if policy.behaviour == .refuse { throw refused(key, record) }
        try refuseDenied("open", of: key, caller)
        if policy.eagainAt == .read { return true }
        let rules = rules(record)
        if policy.isWorthWaiting(rules) { return true }
        let requester = Requester(.reader, "\(caller)")
        let target = RestoreTarget(
            key: key, version: inode.version, record: record, rules: rules, seenAt: seenAt)
        if case .readable = try await obtain(target, policy.order(rules), requester, until: .submission) {
            return false
        }
        log.notice("open of \(key) answers EAGAIN: its restore is under way\(expectation(record, rules))")
        throw .frozen
    }

    /// What `read` does with a frozen object: returns once it is readable, or throws what `on_frozen` says.
    func thaw(_ file: FileHandle, _ caller: Caller) async throws(FileError) {
        // Before anything is looked at: if the answer is EAGAIN, what happens from here on is news.
        pollers.owe(file.inode)
        let (policy, key, seenAt) = (configuration.frozen, file.key, ContinuousClock.now)
        // It may have been restored since the open, by a request that has ended.
        if let inode = inodes[file.inode], !inode.isKnownFrozen,
            context.state(of: try await settledRecord(file.inode), at: .now()).isReadable
        {
            return
        }
        if policy.behaviour == .refuse { throw refused(key, file.record) }
        try refuseDenied("read", of: key, caller)
        let record = try await recordOfFrozen(file)
        // Another object is there since the open: what it has is none of this handle's.
        if case .object(let content) = file.source, content.key == inodes[file.inode]?.key,
            record.etag != content.etag
        {
            throw .stale
        }
        let rules = rules(record)
        let target = RestoreTarget(
            key: key, version: file.version, record: record, rules: rules, seenAt: seenAt)
        let order = policy.order(rules)
        let requester = Requester(.reader, "\(caller)")
        guard policy.isWorthWaiting(rules) else {
            if case .readable = try await obtain(target, order, requester, until: .submission) { return }
            if policy.eagainAt == .read { throw .frozen }
            log.notice("read of \(key) is not made to wait: its restore is under way\(expectation(record, rules))")
            throw .timedOut
        }
        let deadline = policy.waitMax.map { ContinuousClock.now + $0 }
        _ = try await obtain(target, order, requester, until: .copy(until: deadline))
    }

    /// Restores an object because somebody asked for it by name. Answers once the provider has taken the request.
    package func restore(_ number: UInt64, _ wish: String, caller: Caller) async throws(FileError) {
        if let directory = inodes[number]?.directory {
            if BackupWish.isMeant(by: wish) { return try await restoreBackup(directory, wish) }
            return try await restoreTree(directory, wish, caller: caller)
        }
        if BackupWish.isMeant(by: wish) { throw .notDirectory }
        let record = try await settledRecord(number)
        guard let inode = inodes[number] else { throw .stale }
        guard let rules = context.rules(for: record) else {
            log.notice("restore of \(inode.key) refused: class \(record.storageClass.name) needs none")
            throw .notArchived
        }
        let order: RestoreOrder
        do throws(RestoreError) {
            let wish = try RestoreWish(parsing: wish)
            order = try rules.exact(days: wish.days, tier: wish.tier, default: configuration.frozen.days)
        } catch {
            if case .invalidOrder(let reason) = error {
                log.notice("restore of \(inode.key) (class \(record.storageClass.name)) refused: \(reason)")
            }
            throw FileError(error)
        }
        if case .restored(let until) = context.state(of: record, at: .now()), !inode.isKnownFrozen,
            !order.isLonger(than: until, at: .now())
        {
            return log.info("\(inode.key) is restored for as long as is asked for, or longer")
        }
        let target = RestoreTarget(key: inode.key, version: inode.version, record: record, rules: rules)
        _ = try await obtain(target, order, Requester(.command, "\(caller)"), until: .submission)
    }

    /// Restores everything below a directory. Answers once that is a promise; the objects are found and asked for after
    /// that.
    private func restoreTree(_ directory: Directory, _ wish: String, caller: Caller) async throws(FileError) {
        guard directory.view == .objects else { throw .unsupported }
        do throws(RestoreError) {
            let wish = try RestoreWish(parsing: wish)
            _ = try await restores.restore(below: directory.prefix, wish, for: Requester(.command, "\(caller)"))
            forgetCounts(from: directory)
        } catch {
            throw failedRestore(directory.prefix, error)
        }
    }

    /// Cancels what is queued for a file or a directory, and fails those who wait for it; a file's restored copy, for
    /// which nothing is queued, is given up.
    func cancelRestore(_ number: UInt64) async throws(FileError) {
        guard let inode = inodes[number] else { throw .stale }
        if let directory = inode.directory, directory.view != .objects { throw .unsupported }
        var isBackup = false
        if let directory = inode.directory { isBackup = try await cancelBackup(directory) }
        do throws(RestoreError) {
            if let directory = inode.directory {
                try await restores.cancelQueued(below: directory.prefix)
                forgetCounts(from: directory)
                return restoresCancelled(below: directory.prefix)
            }
            try await restores.cancel(inode.key, version: inode.version)
            return forgetCounts(from: inode.home)
        } catch {
            guard case .nothingToCancel = error, inode.directory == nil else {
                if case .nothingToCancel = error, isBackup { return forgetCounts(from: inode.directory) }
                throw failedRestore(inode.key, error)
            }
        }
        let record = try await settledRecord(number)
        guard case .restored = context.state(of: record, at: .now()), let home = inode.home else {
            throw .noSuchAttribute
        }
        let isRefrozen = inode.version == nil ? await writeDeferred(inode.key) : false
        if !isRefrozen {
            do throws(StoreError) { try await store.refreeze(inode.key, version: inode.version) } catch {
                report("refreezing", inode.key, error)
                throw FileError(error)
            }
        }
        await restores.forgetCopy(of: inode.key, version: inode.version)
        log.notice("the restored copy of \(inode.key) is given up: it is frozen again")
        _ = try await head(inode.segment, in: home)
        forgetCounts(from: home)
    }

    /// What somebody just did shows in the counts at once.
    func forgetCounts(from directory: Directory?) {
        var next = directory
        while let directory = next {
            directory.progress.withLock { $0.counts = nil }
            next = directory.parent
        }
    }

    /// How all that is below a directory stands.
    func restoreCounts(_ directory: Directory) async throws(FileError) -> [UInt8] {
        guard directory.view == .objects else { throw .noSuchAttribute }
        // `getfattr` asks for the length first, and the listing is long.
        if let known = directory.progress.withLock({ $0.counts }), known.time + .milliseconds(500) > .now() {
            return known.text
        }
        do throws(RestoreError) {
            let counts = try await restores.counts(below: directory.prefix)
            let backup = await backupStanding(directory).map { " \($0)" } ?? ""
            let text = Array("\(counts)\(backup)".utf8)
            directory.progress.withLock { $0.counts = (text, .now()) }
            return text
        } catch {
            throw failedRestore(directory.prefix, error)
        }
    }

    private func obtain(
        _ target: RestoreTarget, _ order: RestoreOrder, _ requester: Requester, until patience: RestorePatience
    ) async throws(FileError) -> RestoreAnswer {
        restoreBegins(target.key, version: target.version)
        do throws(RestoreError) {
            return try await restores.obtain(target, order, for: requester, until: patience)
        } catch {
            switch error {
            // Only who asked has given up.
            case .interrupted, .timedOut: break
            default: restoreEnded(target.key, version: target.version, error)
            }
            throw failedRestore(target.key, error)
        }
    }

    /// Says in the log why, where the engine has not.
    private func failedRestore(_ key: ObjectKey, _ error: RestoreError) -> FileError {
        switch error {
        case .store(let cause): report("restore", key, cause)
        case .notRemembered(let cause):
            log.error("restore of \(key) was not sent, because it cannot be remembered: \(cause)")
        case .invalidOrder(let reason): log.notice("restore of \(key) refused: \(reason)")
        case .timedOut: log.notice("read of \(key) gave up waiting after restore_wait; the restore goes on")
        case .overBudget where isNews("restore_budget"):
            log.notice(
                "read of \(key) refused: reads have had restored what restore_budget allows; restore it with setfattr -n user.thaw.restore"
            )
        default: break
        }
        return FileError(error)
    }

    /// Somebody, other than the engine, has seen what a restore has come to: whoever waits for it is told now, and not
    /// at the next look.
    func hastenIfReadable(_ key: ObjectKey, version: String?, _ record: ObjectRecord) {
        guard context.state(of: record, at: .now()).isReadable,
            knownFiles(key, version: version).contains(where: { inodes[$0]?.restore == .underWay })
        else { return }
        Task { await restores.hasten(key, version: version) }
    }

    /// The object, if it is wished for and not settled.
    func pendingRestore(_ key: ObjectKey, version: String?) async throws(FileError) -> RestoreRow? {
        do throws(RestoreError) { return try await restores.pendingRestore(of: key, version: version) } catch {
            throw failedRestore(key, error)
        }
    }

    /// A copy that would lapse while the file is open is renewed; not where reads never send anything.
    func hold(_ file: FileHandle, _ record: ObjectRecord) {
        guard configuration.frozen.behaviour != .refuse, let rules = context.rules(for: record),
            case .restored(let until?) = context.state(of: record, at: .now()),
            !file.isHeld.exchange(true, ordering: .acquiringAndReleasing)
        else { return }
        let target = RestoreTarget(key: file.key, version: file.version, record: record, rules: rules)
        restores.hold(target, until: until)
    }

    /// A GET may have been the first to know that the object is frozen. Then a HEAD says what it takes: the class, and
    /// the archive status that listings leave out.
    private func recordOfFrozen(_ file: FileHandle) async throws(FileError) -> ObjectRecord {
        let record = inodes[file.inode]?.record ?? file.record
        if context.rules(for: record) != nil { return record }
        guard let inode = inodes[file.inode], let home = inode.home else { return record }
        return try await head(inode.segment, in: home)
    }

    private func rules(_ record: ObjectRecord) -> ArchiveRules { context.rules(for: record) ?? .unknown }

    private func refused(_ key: ObjectKey, _ record: ObjectRecord) -> FileError {
        log.notice(
            "read of \(key) refused: it is frozen (\(record.storageClass.name)) and on_frozen=refuse; restore it with setfattr -n user.thaw.restore"
        )
        return .restoreRefused
    }

    private func expectation(_ record: ObjectRecord, _ rules: ArchiveRules) -> String {
        guard let longest = rules.longest(configuration.frozen.order(rules).tier) else { return "" }
        return ", \(record.storageClass.name) takes up to \(longest)"
    }
}
