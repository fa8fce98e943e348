internal import Content
internal import Logging
internal import ObjectStore
internal import Restore
internal import ThawCore
internal import Wire

extension Filesystem {
    /// What `open` does with a frozen object: true to open it (its reads will wait), false when it turned out to be
    /// restored; else the error that `on_frozen` says.
    func mayOpenFrozen(_ number: UInt64, _ key: ObjectKey, _ record: ObjectRecord) async throws(FileError) -> Bool {
        let policy = configuration.frozen
        if policy.behaviour == .refuse { throw refused(key, record) }
        if policy.eagainAt == .read { return true }
        let rules = rules(record)
        if policy.isWorthWaiting(rules) { return true }
        let version = inodes[number]?.version
        let reply = try await request(key, version, record, rules, policy.order(rules), by: .reader)
        guard reply == .alreadyRestored else {
            log.notice("open of \(key) answers EAGAIN: its restore is under way\(expectation(record, rules))")
            throw .frozen
        }
        return false
    }

    /// What `read` does with a frozen object: returns once it is readable, or throws what `on_frozen` says.
    func thaw(_ file: FileHandle) async throws(FileError) {
        let policy = configuration.frozen
        let key = file.content.key
        if policy.behaviour == .refuse { throw refused(key, file.record) }
        // It may have been restored since the open, by a request that has ended.
        if let inode = inodes[file.inode], !inode.isKnownFrozen,
            context.state(of: try await freshRecord(file.inode), at: .now()).isReadable
        {
            return
        }
        let record = try await recordOfFrozen(file)
        let rules = rules(record)
        let version = file.content.version
        let reply = try await request(key, version, record, rules, policy.order(rules), by: .reader)
        if reply == .alreadyRestored { return }
        guard policy.isWorthWaiting(rules) else {
            if policy.eagainAt == .read { throw .frozen }
            log.notice("read of \(key) is not made to wait: its restore is under way\(expectation(record, rules))")
            throw .timedOut
        }
        do throws(RestoreError) {
            try await restores.wait(for: key, version: version, until: policy.waitMax.map { .now + $0 })
        } catch {
            if case .timedOut = error {
                log.notice("read of \(key) gave up waiting after restore_wait; the restore goes on")
            }
            throw FileError(error)
        }
    }

    /// Restores an object because somebody asked for it by name. Answers once the provider has taken the request.
    package func restore(_ number: UInt64, _ wish: String) async throws(FileError) {
        let record = try await freshRecord(number)
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
        _ = try await request(inode.key, inode.version, record, rules, order, by: .command)
    }

    /// Asks once, however many ask; says in the log why when the store refuses.
    private func request(
        _ key: ObjectKey, _ version: String?, _ record: ObjectRecord, _ rules: ArchiveRules, _ order: RestoreOrder,
        by origin: RestoreOrigin
    ) async throws(FileError) -> RestoreReply {
        let target = RestoreTarget(key: key, version: version, storageClass: record.storageClass, rules: rules)
        do throws(RestoreError) {
            return try await restores.request(target, order, by: origin)
        } catch {
            switch error {
            case .store(let cause): report("restore", key, cause)
            case .notRemembered(let cause):
                log.error("restore of \(key) was not sent, because it cannot be remembered: \(cause)")
            default: break
            }
            throw FileError(error)
        }
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
