package import Logging
package import Metadata
package import ObjectStore
internal import Synchronization
package import ThawCore
internal import Wire

/// Keeps the promise that a wish for frozen objects is: remembered before it is acted on, asked for once, at the pace
/// that the provider takes, looked at until the copy is there, and told to everybody who waits.
///
/// What is wished for is in the metadata store (`RestoreQueue`), so that memory holds only who waits, and a crash loses
/// nothing. Three kinds of work go on beside each other:
///
///     collecting   a request's directories and trees are listed for archived objects (one task a request)
///     submitting   queued objects are asked for, each lane at its pace (one task a lane)
///     looking      objects that are due are looked at, many at once (one task)
///
/// Works at the scale of seconds and minutes; no read of a hot file comes here.
package actor RestoreEngine {
    let store: any ObjectStore
    let context: ArchiveContext
    let writer: MetadataWriter
    let reader: MetadataReader
    let log: Logger
    let clock: RestoreClock
    /// Days for wishes that name none.
    let days: Int
    /// Told what a look learned of objects, before anybody who waits is; nil for one that is gone.
    let learned: @Sendable ([(key: ObjectKey, version: String?, record: ObjectRecord?)]) async -> Void
    /// Told of every restore that has ended, well or not, after what was learned by it.
    let ended: @Sendable (_ key: ObjectKey, _ version: String?, RestoreError?) -> Void
    let bulkHead: BulkHead

    var waiters: [Identity: [UInt64: Waiter]] = [:]
    private var nextWaiter: UInt64 = 0
    private var waitAlarm = Alarm()
    /// Reads of an object that nobody had in care, while the first of them is being remembered.
    private var readerWishes: [Identity: Task<Result<RestoreRow, RestoreError>, Never>] = [:]

    /// When objects became readable, of late.
    private var lately: [Identity: ContinuousClock.Instant] = [:]
    private var latelyBefore: [Identity: ContinuousClock.Instant] = [:]
    private var latelySince: ContinuousClock.Instant

    var lanes: [String: Lane] = [:]
    var outbox: [Settlement] = []
    var isFlushing = false
    /// When news of one of many was last in the log, by its kind.
    var lastSaid: [String: ContinuousClock.Instant] = [:]

    var collectors: [Int64: Task<Void, Never>] = [:]
    /// Those that are to try again after a while.
    var collectorsAsleep = 0
    var hasMoreToCollect = false

    var lookAlarm = Alarm()
    var isLooking = false
    /// What somebody wants to have looked at since the look began that is under way.
    var hastenedMeanwhile: Set<Identity> = []
    var looksNotBefore: ContinuousClock.Instant
    /// When objects are looked at for which a faster tier waits to be asked for; nil when there are none.
    var raisedDue: ContinuousClock.Instant?
    private var tidiedAt: ContinuousClock.Instant
    /// Not the actor's, so that an open and the close that follows it are counted in that order.
    nonisolated let holds = Mutex<[Identity: Hold]>([:])

    let budget: RestoreBudget?
    var spentByReads: Spending
    let ahead: RestoreAhead
    var wentAhead: [ObjectKey: ContinuousClock.Instant] = [:]

    typealias Identity = BulkHead.Name

    /// What became of an object, for those who wait.
    enum Outcome: Sendable {
        /// The provider has taken the request.
        case underWay
        case readable
        /// It is readable, and the store took no request for it: whoever named it is told why.
        case needless(StoreError)
        case failed(RestoreError)
    }

    struct Waiter {
        let caller: String
        let since: Timestamp
        let waitsForCopy: Bool
        let deadline: ContinuousClock.Instant?
        /// Nil until the waiter has come to wait.
        var continuation: CheckedContinuation<Outcome, Never>?
        /// What happened before.
        var outcome: Outcome?
    }

    /// An event to be stored, and what is to be said of it then.
    struct Settlement: Sendable {
        let row: RestoreRow
        let event: RestoreEvent
        var outcome: Outcome?
        var record: ObjectRecord?
        var isGone = false
    }

    package struct Settings: Sendable {
        package var days = 3
        package var budget: RestoreBudget?
        package var ahead = RestoreAhead.off
        package init() {}
    }

    package init(
        store: any ObjectStore, context: ArchiveContext, writer: MetadataWriter, reader: MetadataReader,
        settings: Settings = Settings(), log: Logger, clock: RestoreClock = .continuous,
        learned: @escaping @Sendable ([(key: ObjectKey, version: String?, record: ObjectRecord?)]) async -> Void,
        ended: @escaping @Sendable (_ key: ObjectKey, _ version: String?, RestoreError?) -> Void = { _, _, _ in }
    ) {
        self.store = store
        self.context = context
        self.writer = writer
        self.reader = reader
        self.log = log
        self.clock = clock
        self.learned = learned
        self.ended = ended
        days = settings.days
        budget = settings.budget
        ahead = settings.ahead
        bulkHead = BulkHead(store)
        spentByReads = Spending(window: settings.budget?.window ?? .seconds(60))
        looksNotBefore = clock.now()
        tidiedAt = clock.now()
        latelySince = clock.now()
    }

    /// When the queue cannot be read or written, this long passes before it is tried again.
    static let pauseOfStorage = Duration.seconds(5)

    /// Takes up what an earlier mount left under way. Returns once that is known; the work goes on.
    package func resume() async throws(MetadataError) {
        try await writer.forgetUncommitted()
        try await writer.forgetOldRestores(at: clock.date())
        try await writer.hastenAll()
        if budget != nil {
            let first = spentByReads.firstMinute(at: clock.date().minute)
            for charge in try await writer.spending(of: MetadataWriter.readsAccount, since: first) {
                spentByReads.charge(charge.bytes, at: charge.minute)
            }
        }
        let asking = try await writer.leftAsking()
        let requests = try await writer.collecting()
        if !asking.isEmpty { Task { await self.lookAfterCrash(asking) } }
        for request in requests { startCollecting(request) }
        try await pumpQueuedLanes()
        raisedDue = clock.now()
        await scheduleLook()
        let unfinished = try await reader.unfinishedRequests()
        if unfinished > 0 { log.info("resuming the restores of an earlier mount, requests: \(unfinished)") }
    }

    // MARK: Asking for one object

    /// Has the object restored, once however many ask, and stays as long as `patience` says. Throws when that fails,
    /// with `timedOut` at the deadline and `interrupted` as soon as the task is cancelled; the restore then goes on.
    package func obtain(
        _ target: RestoreTarget, _ order: RestoreOrder, for requester: Requester, until patience: RestorePatience
    ) async throws(RestoreError) -> RestoreAnswer {
        let identity = Identity(key: target.key, version: target.version)
        let waiter = arrive(identity, requester, patience)
        do throws(RestoreError) {
            let row = try await wish(target, order, requester, identity)
            switch row.state {
            case .queued:
                pump(row.lane)
                await hasten(row)
            case .restoring:
                tell(identity, .underWay)
                await hasten(row)
            case .restored: tell(identity, .readable)
            case .asking, .failed: break
            }
        } catch {
            // Perhaps it was told meanwhile, of a cancel for instance.
            let told = waiters[identity]?[waiter]?.outcome
            leave(identity, waiter)
            switch told {
            case .readable: return .readable
            case .failed(let reason): throw reason
            case .underWay, .needless, nil: throw error
            }
        }
        switch await outcome(identity, waiter) {
        case .underWay: return .underWay
        case .readable: return .readable
        case .needless(let refusal):
            if requester.origin == .command { throw .store(refusal) }
            return .readable
        case .failed(let error): throw error
        }
    }

    /// Remembers the wish, unless the object is in care already and a read has nothing to add.
    private func wish(
        _ target: RestoreTarget, _ order: RestoreOrder, _ requester: Requester, _ identity: Identity
    ) async throws(RestoreError) -> RestoreRow {
        if requester.origin == .reader {
            if let earlier = readerWishes[identity] { return try await earlier.value.get() }
            let task = Task {
                let result = await self.readerWish(target, order, requester)
                // Whoever comes from now on may be too late to be told of what becomes of it.
                self.readerWishes[identity] = nil
                return result
            }
            readerWishes[identity] = task
            return try await task.value.get()
        }
        var row = try await rememberUnlessGivenUp(target, order, requester)
        // What is on its way asks for a slower tier: this one is asked for after it.
        while row.state == .asking, RestoreRow.isFaster(order.tier, than: row.order.tier) {
            let waiter = arrive(identity, requester, .submission)
            if case .failed(let error) = await outcome(identity, waiter) { throw error }
            row = try await rememberUnlessGivenUp(target, order, requester)
        }
        return row
    }

    private func readerWish(
        _ target: RestoreTarget, _ order: RestoreOrder, _ requester: Requester
    ) async -> Result<RestoreRow, RestoreError> {
        do throws(RestoreError) {
            if let row = try await inCare(target.key, version: target.version), row.state.isPending {
                // One of many that somebody waits for goes before the others.
                guard row.state == .queued, row.isOneOfMany else { return .success(row) }
                return .success(try await rememberUnlessGivenUp(target, order, requester))
            }
            let identity = Identity(key: target.key, version: target.version)
            // The copy came while the reader was on its way here.
            if let seenAt = target.seenAt, let readableAt = lately[identity] ?? latelyBefore[identity],
                readableAt > seenAt
            {
                var row = newRow(target, order)
                row.state = .restored
                return .success(row)
            }
            // All who came for it were told meanwhile that it was cancelled.
            guard waiters[identity]?.values.contains(where: { $0.outcome == nil }) ?? false else { throw .interrupted }
            let bytes = budget == nil ? 0 : target.record.sizeBytes
            guard mayRead(bytes) else { throw .overBudget }
            spend(bytes)
            do throws(RestoreError) {
                let row = try await rememberUnlessGivenUp(target, order, requester, charging: bytes)
                goAhead(of: target, order)
                return .success(row)
            } catch {
                if case .notRemembered = error { spentByReads.refund(bytes) }
                throw error
            }
        } catch {
            return .failure(error)
        }
    }

    /// A cancel may have come before there was anything to drop, or have dropped what this was to go before.
    private func rememberUnlessGivenUp(
        _ target: RestoreTarget, _ order: RestoreOrder, _ requester: Requester, charging bytes: UInt64 = 0
    ) async throws(RestoreError) -> RestoreRow {
        let row = try await remember(target, order, requester, charging: bytes)
        guard isGivenUp(Identity(key: target.key, version: target.version)) else { return row }
        // What the provider is at work on was not dropped either.
        if row.state == .queued || row.state == .asking { try? await cancel(target.key, version: target.version) }
        throw .cancelled
    }

    /// Whether all who came for it were told that it was cancelled.
    private func isGivenUp(_ identity: Identity) -> Bool {
        guard let group = waiters[identity], !group.isEmpty else { return false }
        return group.values.allSatisfy { waiter in
            if case .failed(.cancelled)? = waiter.outcome { true } else { false }
        }
    }

    private func remember(
        _ target: RestoreTarget, _ order: RestoreOrder, _ requester: Requester, charging bytes: UInt64 = 0
    ) async throws(RestoreError) -> RestoreRow {
        let now = clock.date()
        var row = newRow(target, order)
        if case .restored(let until) = context.state(of: target.record, at: now) { row.copyUntil = until ?? .epoch }
        let isNamed = requester.origin == .command
        // Kept until the provider has taken them: it may be at work for somebody else, who wants fewer.
        if isNamed { row.moreDays = order.days }
        row.chargedBytes = bytes
        let request = RequestRow(
            origin: requester.origin, requester: requester.name, target: "\(target.key)", days: order.days,
            tier: order.tier, createdAt: now, stage: .collected)
        do throws(MetadataError) {
            let changes = try await writer.wish(row, by: request, at: now) {
                RestoreRow.merge($0, $1, isNamed: isNamed)
            }
            // Somebody else may have been charged for it already.
            if bytes > changes.chargedBytes { spentByReads.refund(bytes - changes.chargedBytes) }
            await note(changes.finished)
            return changes.rows.first ?? row
        } catch {
            throw .notRemembered("\(error)")
        }
    }

    private func newRow(_ target: RestoreTarget, _ order: RestoreOrder) -> RestoreRow {
        RestoreRow(
            key: target.key, version: target.version, state: .queued, storageClass: target.record.storageClass,
            lane: target.rules.limits.lane, order: order, sizeBytes: target.record.sizeBytes, etag: target.record.etag,
            isOneOfMany: false)
    }

    func inCare(_ key: ObjectKey, version: String?) async throws(RestoreError) -> RestoreRow? {
        do throws(MetadataError) { return try await reader.restore(of: key, version: version) } catch {
            throw .notRemembered("\(error)")
        }
    }

    /// The object, if it is in care and not settled.
    package func pendingRestore(of key: ObjectKey, version: String?) async throws(RestoreError) -> RestoreRow? {
        try await inCare(key, version: version).flatMap { $0.state.isPending ? $0 : nil }
    }

    // MARK: Waiting

    private func arrive(_ identity: Identity, _ requester: Requester, _ patience: RestorePatience) -> UInt64 {
        nextWaiter += 1
        let deadline: ContinuousClock.Instant?
        let waitsForCopy: Bool
        switch patience {
        case .submission:
            // A lane may pause for hours; what is remembered is under way by then.
            (deadline, waitsForCopy) = (clock.now() + .seconds(30), false)
        case .copy(let until): (deadline, waitsForCopy) = (until, true)
        }
        waiters[identity, default: [:]][nextWaiter] = Waiter(
            caller: requester.name, since: clock.date(), waitsForCopy: waitsForCopy, deadline: deadline)
        if let deadline { waitAlarm.set(deadline, clock) { await self.expireWaiters() } }
        return nextWaiter
    }

    private func outcome(_ identity: Identity, _ id: UInt64) async -> Outcome {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let outcome = waiters[identity]?[id]?.outcome {
                    leave(identity, id)
                    return continuation.resume(returning: outcome)
                }
                guard !Task.isCancelled, waiters[identity]?[id] != nil else {
                    leave(identity, id)
                    return continuation.resume(returning: .failed(.interrupted))
                }
                waiters[identity]?[id]?.continuation = continuation
            }
        } onCancel: {
            Task { await self.tell(identity, id, .failed(.interrupted)) }
        }
    }

    private func leave(_ identity: Identity, _ id: UInt64) {
        waiters[identity]?[id] = nil
        if waiters[identity]?.isEmpty ?? false { waiters[identity] = nil }
    }

    private func tell(_ identity: Identity, _ id: UInt64, _ outcome: Outcome) {
        guard let waiter = waiters[identity]?[id] else { return }
        if let continuation = waiter.continuation {
            leave(identity, id)
            continuation.resume(returning: outcome)
        } else if waiter.outcome == nil {
            waiters[identity]?[id]?.outcome = outcome
        }
    }

    /// Tells those who wait for it what became of the object.
    func tell(_ identity: Identity, _ outcome: Outcome) {
        for (id, waiter) in waiters[identity] ?? [:] {
            if case .underWay = outcome, waiter.waitsForCopy { continue }
            tell(identity, id, outcome)
        }
        if case .readable = outcome { noteReadable(identity) }
        switch outcome {
        case .underWay: break
        case .readable, .needless: ended(identity.key, identity.version, nil)
        case .failed(let error): ended(identity.key, identity.version, error)
        }
    }

    /// For readers that are on their way with an older record. A few seconds are enough for that, and of very many the
    /// first: a second request would do no harm.
    private func noteReadable(_ identity: Identity) {
        let now = clock.now()
        if now - latelySince > .seconds(10) { (latelyBefore, lately, latelySince) = (lately, [:], now) }
        if lately.count < 10_000 { lately[identity] = now }
    }

    private func expireWaiters() {
        waitAlarm.clear()
        let now = clock.now()
        var earliest: ContinuousClock.Instant?
        for (identity, group) in waiters {
            for (id, waiter) in group {
                guard let deadline = waiter.deadline else { continue }
                if deadline <= now {
                    tell(identity, id, waiter.waitsForCopy ? .failed(.timedOut) : .underWay)
                } else {
                    earliest = min(earliest ?? deadline, deadline)
                }
            }
        }
        if let earliest { waitAlarm.set(earliest, clock) { await self.expireWaiters() } }
    }

    // MARK: Cancelling

    /// Takes the object out of care: drops what is queued, and fails those who wait. What the provider works on it goes
    /// on with. Throws `nothingToCancel` when there was neither.
    package func cancel(_ key: ObjectKey, version: String?) async throws(RestoreError) {
        let identity = Identity(key: key, version: version)
        let cancelled: (row: RestoreRow, changes: RestoreChanges)?
        do throws(MetadataError) {
            cancelled = try await writer.cancel(key, version: version, at: clock.date())
        } catch {
            throw .notRemembered("\(error)")
        }
        let isAwaited = waiters[identity] != nil
        tell(identity, .failed(.cancelled))
        guard let (row, changes) = cancelled else {
            if isAwaited { return }
            throw .nothingToCancel
        }
        spentByReads.refund(changes.refundedBytes)
        await note(changes.finished)
        let isUnderWay = row.state == .restoring || row.slowTier != nil
        let rest = isUnderWay ? "; the provider goes on with what it has begun" : ""
        log.notice("the restore of \(key) was cancelled\(rest)")
    }

    /// The object's copy was given up: nobody renews it, and who has come for another fails.
    package func forgetCopy(of key: ObjectKey, version: String?) async {
        let identity = Identity(key: key, version: version)
        // Those who have it open still do, and may have it restored again.
        holds.withLock { $0[identity]?.giveUp() }
        do throws(MetadataError) {
            let dropped = try await writer.cancel(key, version: version, evenSettled: true, at: clock.date())
            guard let (row, changes) = dropped else { return }
            if row.state.isPending { tell(identity, .failed(.cancelled)) }
            spentByReads.refund(changes.refundedBytes)
            await note(changes.finished)
        } catch {
            log.error("the copy of \(key), which was given up, may be asked for again: \(error)")
        }
    }

    /// Drops what is queued below the prefix, and fails those who wait for anything there. Throws `nothingToCancel`
    /// when there was neither.
    package func cancelQueued(below prefix: ObjectKey) async throws(RestoreError) {
        var (tally, isCutShort, isAwaited) = (Tally(), false, false)
        do throws(MetadataError) {
            let cancelled = try await writer.cancelQueued(below: prefix, at: clock.date())
            tally = cancelled.tally
            isCutShort = cancelled.changes.isCutShort
            spentByReads.refund(cancelled.changes.refundedBytes)
            await note(cancelled.changes.finished)
        } catch {
            throw .notRemembered("\(error)")
        }
        for identity in waiters.keys where identity.version == nil && identity.key.hasPrefix(prefix) {
            isAwaited = true
            tell(identity, .failed(.cancelled))
        }
        // Slow restores, of which a faster tier was dropped, are to be looked at again.
        await scheduleLook()
        guard tally.objects > 0 || isCutShort || isAwaited else { throw .nothingToCancel }
        log.notice("cancelled below \(prefix): \(tally.objects) objects that were queued, \(tally.bytes) bytes")
    }

    // MARK: Ending

    /// Says of requests that have ended how they did.
    func note(_ finished: [RequestCount]) async {
        if !finished.isEmpty { await forgetOld() }
        for count in finished {
            let restored = count.states[.restored] ?? Tally()
            let failed = count.states[.failed] ?? Tally()
            guard restored.objects + failed.objects + count.cancelled.objects > 1 else { continue }
            let request = count.request
            let line = "request \(request.id) (\(request.target)) is finished: \(restored.objects) restored, "
                + "\(failed.objects) failed, \(count.cancelled.objects) cancelled"
            if failed.objects > 0 {
                log.warning("\(line); the last failure: \(request.error ?? "unknown")")
            } else {
                log.info("\(line)")
            }
        }
    }

    /// A daemon may live for months, and each frozen file that is read is a request.
    private func forgetOld() async {
        let now = clock.now()
        guard now - tidiedAt > .seconds(3600) else { return }
        tidiedAt = now
        do throws(MetadataError) { try await writer.forgetOldRestores(at: clock.date()) } catch {
            log.warning("requests of long ago are kept: \(error)")
        }
    }
}
