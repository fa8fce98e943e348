internal import Database
internal import Glibc
package import Logging
package import ThawCore
internal import Synchronization

/// What was read of objects, kept on disk within limits, so that it need not be fetched again: not by another program,
/// not after a remount, and not once the copy that was restored for it has lapsed.
///
/// Only what is slower to get than from a disk is kept, and everything that was restored. Every block has a checksum,
/// looked at whenever it is read. A process that is killed loses what it wrote in the last second; a power loss, what
/// had not reached the disk; neither ever gives wrong bytes. One mount has the directory for itself.
///
/// Order of what happens to a segment: its row is written after its blocks and removed before its file.
package final class BlockCache: Sendable {
    package struct Limits: Sendable {
        /// For all blocks together, without what `occupiedBytes` says.
        package var bytesMax: UInt64
        /// How much of its disk is left to others.
        package var keepFreeBytes: UInt64

        package init(bytesMax: UInt64, keepFreeBytes: UInt64) {
            self.bytesMax = bytesMax
            self.keepFreeBytes = keepFreeBytes
        }
    }

    private let directory: String
    private let limits: Limits
    private let occupiedBytes: @Sendable () -> UInt64
    private let freeBytes: @Sendable () -> UInt64
    private let index: BlockIndex
    private let files: [SegmentFiles]
    private let log: Logger
    private let recordAfter: Duration
    private let patience: Duration
    private let used: Atomic<UInt64>
    private let given = Atomic<UInt64>(0)
    /// What was announced and is not on the disk yet.
    let backlog: Backlog
    private let state = Mutex(State())

    private struct State {
        /// Segments of which the index does not know yet how they stand.
        var changed: [SegmentName: CachedObject] = [:]
        var recording: Task<Void, Never>?
        /// Looks for files that a process which was killed has left.
        var sweeping: Task<Void, Never>?
        /// Segments that this process has written since it began; nil when no file can be any other's.
        var written: Set<SegmentName>?
        var trimming: (bytes: UInt64, task: Task<Bool, Never>)?
        /// Nothing is written before that: the disk was full, or failed.
        var restsUntil = Timestamp.epoch
        /// What was free before something was evicted, and what was ours then, together; until when that counts.
        var share: (bytes: UInt64, until: Timestamp)?
        /// What this user may have of the disk, as far as that was found out: nothing tells but that it is refused.
        var quota: (bytes: UInt64, until: Timestamp)?
        /// The index cannot be used any more.
        var isOff = false
    }

    /// A segment with bytes of a restored copy counts as if it had been used this much later: to get them again costs
    /// money and hours.
    private static let restoredBonus = Duration.seconds(30 * 86_400)
    private static let restAfterFailure = Duration.seconds(60)
    /// Some file systems tell so late that they were given something back.
    private static let shareLasts = Duration.seconds(30)
    /// Others of this user's files may go.
    private static let quotaLasts = Duration.seconds(3600)
    private static let indexName = "index.sqlite"

    /// Opens the directory, made with mode 0700. `occupiedBytes` of the same disk are used besides, and count against
    /// `limits`; `freeBytes` are free of it, by default what it says. What cannot be understood is thrown away. What
    /// was written is written down after `recordAfter`, all at once. A disk that does nothing for as long as
    /// `patience` is not waited for. The index has so many pages of 4 KiB at most, if that is said.
    package init(
        directory: String, limits: Limits, occupiedBytes: @escaping @Sendable () -> UInt64 = { 0 },
        freeBytes: (@Sendable () -> UInt64)? = nil, recordAfter: Duration = .seconds(1),
        patience: Duration = .seconds(10), indexPagesMax: Int? = nil, log: Logger
    ) async throws(BlockCacheFault) {
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw BlockCacheFault(text: errorText(errno))
        }
        guard Self.isPrivate(directory) else {
            throw BlockCacheFault(text: "it is not this user's alone: it must be theirs, with mode 0700")
        }
        self.directory = directory
        self.limits = limits
        self.recordAfter = recordAfter
        self.patience = patience
        self.occupiedBytes = occupiedBytes
        self.freeBytes = freeBytes ?? { LocalDirectory.freeBytes(at: directory) }
        self.log = log
        backlog = Backlog(patience: patience) {
            log.warning("the block cache's disk below \(directory) does nothing: not all that is read now is kept")
        }
        let executor: ThreadExecutor
        do throws(Thread.Failure) {
            var files: [SegmentFiles] = []
            for number in 0..<4 { files.append(try SegmentFiles(directory: directory, number: number)) }
            self.files = files
            executor = try ThreadExecutor(name: "blocks-index")
        } catch {
            throw BlockCacheFault(text: errorText(error.errno))
        }
        let opened: (index: BlockIndex, bytes: UInt64, wasEndedWell: Bool)
        do throws(DatabaseError) { opened = try await Self.openIndex(directory, indexPagesMax, executor) } catch {
            log.warning("the block cache in \(directory) cannot be used (\(error)); a new one is begun")
            Self.removeIndex(directory)
            do throws(DatabaseError) {
                opened = try await Self.openIndex(directory, indexPagesMax, executor)
            } catch {
                throw BlockCacheFault(text: "\(error)")
            }
        }
        index = opened.index
        used = Atomic(opened.bytes)
        guard !opened.wasEndedWell else { return }
        state.withLock { state in
            state.written = []
            state.sweeping = Task { await self.sweep() }
        }
    }

    private static func isPrivate(_ directory: String) -> Bool {
        var status = stat()
        return lstat(directory, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid()
            && status.st_mode & 0o077 == 0
    }

    /// Removes a cache that nobody uses.
    package static func remove(_ directory: String) {
        guard isPrivate(directory) else { return }
        removeIndex(directory)
        for name in subdirectories {
            for file in LocalDirectory.names(in: directory + "/" + name) { unlink(directory + "/" + name + "/" + file) }
            rmdir(directory + "/" + name)
        }
        rmdir(directory)
    }

    private static let subdirectories = (0..<256).map { SegmentName.directory($0) }

    private static func openIndex(
        _ directory: String, _ pagesMax: Int?, _ executor: ThreadExecutor
    ) async throws(DatabaseError) -> (index: BlockIndex, bytes: UInt64, wasEndedWell: Bool) {
        let index = try BlockIndex(path: directory + "/" + indexName, pagesMax: pagesMax, executor: executor)
        return (index, try await index.total().bytes, try await index.begin())
    }

    private static func removeIndex(_ directory: String) {
        for suffix in ["", "-wal", "-shm"] { unlink(directory + "/" + indexName + suffix) }
    }

    package var usedBytes: UInt64 { used.load(ordering: .relaxed) }
    /// What was read from here since it was opened.
    package var readBytes: UInt64 { given.load(ordering: .relaxed) }
    package var bytesMax: UInt64 { limits.bytesMax }
    /// On their way to the disk.
    var pendingBytes: Int { backlog.bytes }

    // MARK: Objects

    /// Nil where the cache cannot be used.
    func object(_ key: ObjectKey, version: String?, etag: String, sizeBytes: UInt64) async -> CachedObject? {
        guard !isOff, sizeBytes <= Blocks.objectBytesMax else { return nil }
        let name = BlockName(key: key, version: version, etag: etag, sizeBytes: sizeBytes)
        do throws(DatabaseError) { return try await index.object(name, sizeBytes: sizeBytes) } catch {
            giveUp(error)
            return nil
        }
    }

    /// Whether every byte of the object is here.
    package func holds(_ key: ObjectKey, version: String?, etag: String, sizeBytes: UInt64) async -> Bool {
        await object(key, version: version, etag: etag, sizeBytes: sizeBytes)?.has(0..<sizeBytes) ?? false
    }

    private var isOff: Bool { state.withLock { $0.isOff } }

    /// The index is of no use any more, and the next mount begins a new one; unless it is only the disk that is full or
    /// fails, which may pass.
    private func giveUp(_ error: DatabaseError) {
        if error.isFull || error.isDiskFault { return rest(after: error) }
        let isFirst = state.withLock { state in
            defer { state.isOff = true }
            return !state.isOff
        }
        guard isFirst else { return }
        log.error("the block cache in \(directory) is not used any more: \(error)")
        if error.isCorrupt { Self.removeIndex(directory) }
    }

    // MARK: Reading

    /// Fills the part from the disk; false when not all of it is there, or not as it was written.
    func fill(_ part: Part, of object: CachedObject) async -> Bool {
        guard !part.range.isEmpty, object.has(part.range) else { return false }
        for (number, range) in Blocks.segments(of: part.range) {
            guard await read(SegmentName(object: object.name, number: number), range, into: part, of: object) else {
                return false
            }
        }
        part.isFilled()
        given.add(UInt64(part.range.count))
        return true
    }

    private func read(
        _ name: SegmentName, _ range: Range<UInt64>, into part: Part, of object: CachedObject
    ) async -> Bool {
        guard let sums = object.sums(name.number, range), sums.allSatisfy({ $0 != 0 }) else { return false }
        do throws(SegmentFiles.ReadFailure) {
            try await files(of: name).read(name, range, sums, into: part)
            if object.touch(name.number, worth: .now()) { note(name, object) }
            return true
        } catch {
            let lost: Range<UInt64>
            switch error {
            case .absent:
                lost = UInt64(name.number) * Blocks.segmentBytes..<UInt64(name.number + 1) * Blocks.segmentBytes
            case .local(let cause):
                log.warning("the block cache cannot read \(directory)/\(name.path): \(cause); it is fetched again")
                lost = range
            case .damaged(let bytes):
                log.warning("the block cache's \(directory)/\(name.path) is not what was written; it is fetched again")
                lost = bytes
            }
            let bytes = error.isAbsent ? object.remove(name.number) : object.drop(name.number, lost)
            used.subtract(bytes)
            note(name, object)
            return false
        }
    }

    private func files(of name: SegmentName) -> SegmentFiles {
        files[Int((name.object.low &+ UInt64(name.number)) % UInt64(files.count))]
    }

    // MARK: Writing

    /// Announces a part that `keep` is to write; false when so many are on their way that it had better go without.
    /// What was restored is always taken, unless the disk does nothing.
    func announce(_ bytes: Int, isRestored: Bool, within budget: Int) -> Bool {
        backlog.announce(bytes, isRestored: isRestored, within: budget)
    }

    /// Returns once no more than so much is on its way to the disk, unless that does nothing: for who brings more,
    /// which has to lie in memory until it is written.
    func waitForDisk(within budget: Int) async { await backlog.holdBack(within: budget) }

    /// Nothing is on its way to the disk, and nobody tidies up there.
    var isQuiet: Bool {
        backlog.bytes == 0 && state.withLock { $0.trimming == nil && $0.sweeping == nil }
    }

    /// Writes the part, all of whose bytes must be there, and which was announced. `isRestored`: they come from a copy
    /// that was restored.
    func keep(_ part: Part, of object: CachedObject, isRestored: Bool) async {
        defer { backlog.settle(part.range.count) }
        let isResting = state.withLock { $0.isOff || $0.restsUntil > .now() }
        guard !isResting, !object.has(part.range) else { return }
        guard part.range.count <= limits.bytesMax / 2 else { return }
        if missingBytes(for: 0, of: share) > 0 {
            await trim(for: 0)
            guard missingBytes(for: 0, of: share) == 0 else { return }
        }
        for (number, range) in Blocks.segments(of: part.range) {
            let name = SegmentName(object: object.name, number: number)
            state.withLock { _ = $0.written?.insert(name) }
            do throws(ErrnoError) {
                let sums = try await files(of: name).write(name, range, from: part)
                used.add(object.add(number, range, sums, worth: Self.worth(isRestored: isRestored)))
                note(name, object)
            } catch {
                // Nobody would know of what was begun; what was there before is none the worse.
                if object.segment(number) == nil { await files(of: name).remove(name) }
                return rest(after: error)
            }
        }
    }

    /// When a segment that is used now makes room, as a time: the earliest first.
    private static func worth(isRestored: Bool) -> Timestamp {
        isRestored ? .now() + restoredBonus : .now()
    }

    func rest(after error: any Error) {
        let now = Timestamp.now()
        if (error as? ErrnoError)?.code == EDQUOT {
            let ours = usedBytes &+ occupiedBytes()
            let bytes = ours - min(ours, max(16 << 20, ours / 16))
            state.withLock { $0.quota = (bytes, now + Self.quotaLasts) }
        }
        let wasResting = state.withLock { state in
            defer { (state.restsUntil, state.share) = (now + Self.restAfterFailure, nil) }
            return state.restsUntil > now
        }
        guard !wasResting else { return }
        log.warning("the block cache in \(directory) cannot write: \(error); it goes without for a minute")
    }

    // MARK: Room

    /// How much must go before all that is on its way, and so much more, may come. What of `share` is not ours is free,
    /// though the disk may not tell yet.
    private func missingBytes(for bytes: UInt64, of share: UInt64?) -> UInt64 {
        let coming = UInt64(backlog.bytes) &+ bytes
        let ours = usedBytes &+ occupiedBytes()
        let wanted = ours &+ coming
        let bytesMax = min(limits.bytesMax, quota ?? .max)
        let overLimit = wanted > bytesMax ? wanted - bytesMax : 0
        let floor = limits.keepFreeBytes &+ coming
        let free = max(freeBytes(), share.map { $0 - min($0, ours) } ?? 0)
        return max(overLimit, free < floor ? floor - free : 0)
    }

    private var share: UInt64? {
        let now = Timestamp.now()
        return state.withLock { $0.share.flatMap { $0.until > now ? $0.bytes : nil } }
    }

    private var quota: UInt64? {
        let now = Timestamp.now()
        return state.withLock { $0.quota.flatMap { $0.until > now ? $0.bytes : nil } }
    }

    /// Evicts what is worth least until there is room for so much more, or nothing is left; answers whether anything
    /// was. Who finds it under way waits for that, and does what it was not to do.
    @discardableResult
    package func trim(for bytes: UInt64) async -> Bool {
        var hasEvicted = false
        while true {
            let trimming = state.withLock { state in
                if let trimming = state.trimming { return trimming }
                let task = Task {
                    let hasEvicted = await self.makeRoom(for: bytes)
                    self.state.withLock { $0.trimming = nil }
                    return hasEvicted
                }
                state.trimming = (bytes, task)
                return (bytes, task)
            }
            if await trimming.task.value { hasEvicted = true }
            if trimming.bytes >= bytes { return hasEvicted }
        }
    }

    private func makeRoom(for bytes: UInt64) async -> Bool {
        // Others may have taken what we gave back, which must not stand in the way of who needs room now.
        let known = bytes == 0 ? share : nil
        guard !isOff, missingBytes(for: bytes, of: known) > 0 else { return false }
        var hasEvicted = false
        await record()
        let share = known ?? min(freeBytes(), .max / 2) + usedBytes + occupiedBytes()
        // A little more than it takes, so that not every write comes here.
        let slack = min(limits.bytesMax / 32, 64 << 20)
        var hasUnlinked = false
        while true {
            let missing = missingBytes(for: bytes &+ slack, of: share)
            if missing == 0 { break }
            do throws(DatabaseError) {
                let victims = try await index.takeLeastWorth(missing)
                if victims.isEmpty { break }
                for victim in victims { await evict(victim) }
                hasEvicted = true
            } catch {
                if error.isFull, !hasUnlinked {
                    // No room even for taking rows out. Without its file a row does no harm, and goes when it is read.
                    hasUnlinked = true
                    await unlinkLeastWorth(missing)
                    continue
                }
                giveUp(error)
                break
            }
        }
        if hasEvicted, known == nil {
            let until = Timestamp.now() + Self.shareLasts
            state.withLock { $0.share = (share, until) }
        }
        return hasEvicted
    }

    /// Removes the files of what is to be evicted next, and leaves the rows.
    private func unlinkLeastWorth(_ bytes: UInt64) async {
        let victims = (try? await index.leastWorth(bytes)) ?? []
        for victim in victims { await files(of: victim.name).remove(victim.name) }
    }

    private func evict(_ victim: BlockIndex.Victim) async {
        used.subtract(victim.object?.remove(victim.name.number) ?? victim.bytes)
        await files(of: victim.name).remove(victim.name)
    }

    // MARK: The index

    private func note(_ name: SegmentName, _ object: CachedObject) {
        let isEnded = backlog.isEnded
        state.withLock { state in
            state.changed[name] = object
            if !isEnded { recordLater(&state, after: recordAfter) }
        }
    }

    private func recordLater(_ state: inout State, after duration: Duration) {
        guard state.recording == nil else { return }
        state.recording = Task {
            try? await Task.sleep(for: duration)
            await self.record()
        }
    }

    /// Writes down how what has changed stands now; false when that failed.
    @discardableResult
    func record() async -> Bool {
        let changed = state.withLock { state in
            defer { (state.changed, state.recording) = ([:], nil) }
            return state.changed
        }
        guard !changed.isEmpty else { return true }
        guard !isOff else { return false }
        do throws(DatabaseError) { try await index.record(changed) } catch {
            giveUp(error)
            state.withLock { state in
                guard !state.isOff else { return }
                state.changed.merge(changed) { newer, _ in newer }
                recordLater(&state, after: Self.restAfterFailure)
            }
            return false
        }
        return true
    }

    /// Waits for what is on its way to the disk, and writes down what is there. Nothing more is taken from now on. Not
    /// for long: what is not done by then, the next mount looks for.
    package func end() async {
        backlog.end()
        let deadline = ContinuousClock.now + min(.seconds(5), patience)
        while !isQuiet, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(2)) }
        state.withLock { $0.sweeping }?.cancel()
        guard await record(), isQuiet, state.withLock({ !$0.isOff && $0.written == nil }) else { return }
        do throws(DatabaseError) { try await index.end() } catch { giveUp(error) }
    }

    // MARK: Looking after it

    private func sweep() async {
        let isSwept = await removeStrays()
        state.withLock { state in
            state.sweeping = nil
            if isSwept { state.written = nil }
        }
    }

    /// Removes files that the index does not know: a process was killed before it could write them down. False when it
    /// did not come to its end.
    private func removeStrays() async -> Bool {
        var removed = 0
        for name in Self.subdirectories {
            for file in LocalDirectory.names(in: directory + "/" + name) {
                if Task.isCancelled { return false }
                guard let segment = SegmentName(file) else {
                    if unlink(directory + "/" + name + "/" + file) == 0 { removed += 1 }
                    continue
                }
                let isKnown: Bool
                do throws(DatabaseError) { isKnown = try await index.has(segment) } catch {
                    giveUp(error)
                    return false
                }
                guard !isKnown else { continue }
                // Asked where it would be written: it is not being written meanwhile.
                let isGone = await files(of: segment).remove(segment) {
                    state.withLock { $0.written?.contains(segment) == false }
                }
                if isGone { removed += 1 }
            }
        }
        if removed > 0 { log.info("the block cache had \(removed) files of a mount that was killed; they are gone") }
        return true
    }

    package struct Verification: Sendable {
        package var segments = 0
        package var bytes: UInt64 = 0
        /// Thrown away: not what was written.
        package var damaged = 0
    }

    /// Reads everything, and throws away what is not as it was written. Nothing else may use the cache meanwhile.
    package func verify() async throws(BlockCacheFault) -> Verification {
        var result = Verification()
        var last: SegmentName?
        do throws(DatabaseError) {
            while true {
                let found = try await index.segments(after: last, limit: 64)
                guard let end = found.last else { return result }
                last = end.name
                for checked in found {
                    result.segments += 1
                    let isSound = await files(of: checked.name).check(
                        checked.name, checked.segment, sizeBytes: checked.sizeBytes)
                    if isSound {
                        result.bytes += checked.bytes
                    } else {
                        result.damaged += 1
                        used.subtract(checked.bytes)
                        try await index.remove([checked.name])
                        await files(of: checked.name).remove(checked.name)
                    }
                }
            }
        } catch {
            throw BlockCacheFault(text: "\(error)")
        }
    }

    /// Evicts everything; answers how many bytes that were.
    package func clear() async throws(BlockCacheFault) -> UInt64 {
        await record()
        let before = usedBytes
        do throws(DatabaseError) {
            while true {
                let victims = try await index.takeLeastWorth(.max)
                if victims.isEmpty { break }
                for victim in victims { await evict(victim) }
            }
        } catch {
            throw BlockCacheFault(text: "\(error)")
        }
        return before - min(before, usedBytes)
    }
}

/// Why no blocks can be kept there, in a sentence.
package struct BlockCacheFault: Error, CustomStringConvertible {
    let text: String
    package var description: String { text }
}

extension SegmentFiles.ReadFailure {
    fileprivate var isAbsent: Bool { if case .absent = self { true } else { false } }
}

extension Atomic where Value == UInt64 {
    fileprivate func add(_ bytes: UInt64) { wrappingAdd(bytes, ordering: .relaxed) }

    /// Not below nothing: what was counted twice must not make the cache look full for ever.
    fileprivate func subtract(_ bytes: UInt64) {
        var known = load(ordering: .relaxed)
        while true {
            let (exchanged, original) = compareExchange(
                expected: known, desired: known - Swift.min(known, bytes), ordering: .relaxed)
            if exchanged { return }
            known = original
        }
    }
}
