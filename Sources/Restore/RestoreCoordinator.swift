package import Logging
package import Metadata
package import ObjectStore
package import ThawCore
internal import Wire

/// Sends restore requests, one per object however many ask, remembers them before they are sent, and asks the store
/// until each has ended. Works at the scale of minutes; no read of a hot file comes here.
///
/// One restore, as a machine (`Flight.phase`):
///
///     asking     the row is on disk, the request is on its way; whoever else asks waits for the same answer
///     restoring  202 or 409: polled by HEAD until the copy is readable, the object is gone, or the restore was lost
///
/// A crash in either leaves the row: `resume` asks again (the request is idempotent) or goes on polling.
package actor RestoreCoordinator {
    private let store: any ObjectStore
    private let context: ArchiveContext
    private let writer: MetadataWriter
    private let log: Logger
    private let clock: RestoreClock
    /// Told what a poll or a finished restore learned of an object; nil when it is gone.
    private let learned: @Sendable (ObjectKey, _ version: String?, ObjectRecord?) async -> Void
    private var flights: [Identity: Flight] = [:]
    /// Who waits for the answer to a request, by its number.
    private var askers: [UInt64: [UInt64: CheckedContinuation<Result<RestoreReply, RestoreError>, Never>]] = [:]
    private var nextAsking: UInt64 = 0
    private var nextWaiter: UInt64 = 0
    private var nextFlight: UInt64 = 0
    private var alarm: Task<Void, Never>?
    private var alarmTime: ContinuousClock.Instant?
    private var pollsInFlight = 0
    private static let pollsMax = 16

    private struct Identity: Hashable {
        let key: ObjectKey
        let version: String?
    }

    private struct Flight {
        /// Tells this flight from an earlier one of the same object, whose poll may still be under way.
        let number: UInt64
        var row: RestoreRow
        var target: RestoreTarget
        /// Number of the request that is on its way, if one is.
        var asking: UInt64?
        var schedule: PollSchedule
        var nextPoll: ContinuousClock.Instant
        var lastPoll: ContinuousClock.Instant
        var isPolling = false
        /// HEADs in a row that showed no restore at all: one may be a store that is not yet consistent.
        var lostSightings = 0
        var waiters: [UInt64: Waiter] = [:]
    }

    private struct Waiter {
        let deadline: ContinuousClock.Instant?
        let continuation: CheckedContinuation<RestoreError?, Never>
    }

    package init(
        store: any ObjectStore, context: ArchiveContext, writer: MetadataWriter, log: Logger,
        clock: RestoreClock = .continuous,
        learned: @escaping @Sendable (ObjectKey, _ version: String?, ObjectRecord?) async -> Void
    ) {
        self.store = store
        self.context = context
        self.writer = writer
        self.log = log
        self.clock = clock
        self.learned = learned
    }

    // MARK: Asking

    /// Takes up the restores that an earlier mount left under way.
    package func resume() async throws(MetadataError) {
        for row in try await writer.restores() {
            let rules = context.rulesForResuming(row.storageClass)
            let target = RestoreTarget(
                key: row.key, version: row.version, storageClass: row.storageClass, rules: rules)
            let identity = Identity(key: row.key, version: row.version)
            // A reader may have been quicker; its flight has waiters.
            guard flights[identity] == nil else { continue }
            flights[identity] = newFlight(row, target)
            log.info("resuming the restore of \(row.key), asked for at \(WireDate.iso8601(row.requestedAt))")
            if row.state == .asking { ask(identity) }
        }
        rearm()
    }

    /// Asks for the object to be restored, unless that is under way. Then a reader has what it wants; but for somebody
    /// who asked by name a faster tier is asked for at once, and more days are kept for when the copy is there.
    /// Returns when the provider has taken the request, or the wish is kept.
    package func request(
        _ target: RestoreTarget, _ order: RestoreOrder, by origin: RestoreOrigin
    ) async throws(RestoreError) -> RestoreReply {
        let identity = Identity(key: target.key, version: target.version)
        if let flight = flights[identity] {
            if let asking = flight.asking {
                let reply = try await reply(to: asking)
                if origin == .reader || order == flight.row.order { return reply }
                // What was asked for was somebody else's wish: this one is looked at again, after it.
                return try await request(target, order, by: origin)
            }
            lookSoon(identity)
            if origin == .reader { return .alreadyInProgress }
            try await keep(wishFor: order.days, identity)
            guard Self.isFaster(order.tier, than: flight.row.order.tier) else { return .alreadyInProgress }
            return try await raiseTier(identity, order)
        }
        let row = RestoreRow(
            key: target.key, version: target.version, state: .asking, storageClass: target.storageClass,
            order: order, requestedAt: .now())
        flights[identity] = newFlight(row, target)
        return try await reply(to: ask(identity))
    }

    /// The restore that is under way for this object, if one is.
    package func restore(of key: ObjectKey, version: String?) -> RestoreRow? {
        flights[Identity(key: key, version: version)]?.row
    }

    private func newFlight(_ row: RestoreRow, _ target: RestoreTarget) -> Flight {
        nextFlight += 1
        return Flight(
            number: nextFlight, row: row, target: target, asking: nil,
            schedule: PollSchedule(longest: target.rules.longest(row.order.tier) ?? .seconds(3600)),
            nextPoll: clock.now(), lastPoll: clock.now())
    }

    /// Sends the request, whether or not those who asked for it still wait. Answers its number.
    @discardableResult
    private func ask(_ identity: Identity) -> UInt64 {
        nextAsking += 1
        let asking = nextAsking
        flights[identity]?.asking = asking
        Task {
            let result = await self.send(identity)
            guard let askers = self.askers.removeValue(forKey: asking) else { return }
            for asker in askers.values { asker.resume(returning: result) }
        }
        return asking
    }

    /// Waits for the answer; ends with `interrupted` as soon as the task is cancelled, and the request goes on.
    private func reply(to asking: UInt64) async throws(RestoreError) -> RestoreReply {
        nextWaiter += 1
        let id = nextWaiter
        let result: Result<RestoreReply, RestoreError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume(returning: .failure(.interrupted)) }
                askers[asking, default: [:]][id] = continuation
            }
        } onCancel: {
            Task { await self.stopAsking(asking, id) }
        }
        return try result.get()
    }

    private func stopAsking(_ asking: UInt64, _ id: UInt64) {
        askers[asking]?.removeValue(forKey: id)?.resume(returning: .failure(.interrupted))
    }

    /// Remembers, then sends, then remembers what came of it.
    private func send(_ identity: Identity) async -> Result<RestoreReply, RestoreError> {
        guard let flight = flights[identity] else { return .failure(.interrupted) }
        do throws(MetadataError) {
            try await writer.put(flight.row, durably: true)
        } catch {
            return await end(identity, with: .notRemembered("\(error)"))
        }
        let reply: RestoreReply
        do throws(StoreError) {
            reply = try await order(flight)
        } catch {
            return await end(identity, with: error.kind == .noSuchKey ? .gone : .store(error))
        }
        if reply == .alreadyRestored {
            flights[identity]?.isPolling = true
            flights[identity]?.asking = nil
            await poll(identity, flight.number)
            return .success(reply)
        }
        log.info(
            "restore of \(identity.key) \(reply == .started ? "started" : "is under way already")",
            metadata: [
                "class": "\(flight.row.storageClass.name)", "tier": "\(flight.row.order.tier?.rawValue ?? "none")",
            ])
        flights[identity]?.asking = nil
        flights[identity]?.row.state = .restoring
        if let row = flights[identity]?.row { try? await writer.put(row, durably: false) }
        schedulePoll(identity)
        return .success(reply)
    }

    /// Expedited that the provider has no capacity for falls back to its default tier.
    private func order(_ flight: Flight) async throws(StoreError) -> RestoreReply {
        let row = flight.row
        do throws(StoreError) {
            return try await store.restore(row.key, version: row.version, row.order)
        } catch {
            guard error.kind == .tierUnavailable, let fallback = flight.target.rules.defaultTier,
                fallback != row.order.tier
            else { throw error }
            let tier = row.order.tier?.rawValue ?? ""
            log.warning("no capacity for tier \(tier) of \(row.key): \(error); asking for \(fallback.rawValue)")
            let order = RestoreOrder(days: row.order.days, tier: fallback)
            changeOrder(Identity(key: row.key, version: row.version), order)
            return try await store.restore(row.key, version: row.version, order)
        }
    }

    private func keep(wishFor days: Int?, _ identity: Identity) async throws(RestoreError) {
        guard let days, var row = flights[identity]?.row, days > max(row.order.days ?? 0, row.moreDays ?? 0)
        else { return }
        row.moreDays = days
        flights[identity]?.row = row
        do throws(MetadataError) { try await writer.put(row, durably: true) } catch { throw .notRemembered("\(error)") }
    }

    private func raiseTier(_ identity: Identity, _ order: RestoreOrder) async throws(RestoreError) -> RestoreReply {
        do throws(StoreError) {
            let reply = try await store.restore(identity.key, version: identity.version, order)
            guard reply == .started, var raised = flights[identity]?.row else { return reply }
            raised.order.tier = order.tier
            changeOrder(identity, raised.order)
            // Only the interval of polling after a restart depends on it.
            try? await writer.put(raised, durably: false)
            schedulePoll(identity)
            return reply
        } catch {
            guard error.kind == .tierUnavailable else { throw .store(error) }
            let tier = order.tier?.rawValue ?? ""
            log.warning("no capacity for tier \(tier) of \(identity.key): \(error); its restore goes on as it is")
            return .alreadyInProgress
        }
    }

    /// Another tier takes another time, so it is polled at another interval.
    private func changeOrder(_ identity: Identity, _ order: RestoreOrder) {
        guard var flight = flights[identity] else { return }
        flight.row.order = order
        flight.schedule = PollSchedule(longest: flight.target.rules.longest(order.tier) ?? .seconds(3600))
        flights[identity] = flight
    }

    private static func isFaster(_ tier: RestoreTier?, than other: RestoreTier?) -> Bool {
        let ranks: [RestoreTier: Int] = [.bulk: 0, .standard: 1, .expedited: 2]
        guard let tier, let other else { return false }
        return (ranks[tier] ?? 0) > (ranks[other] ?? 0)
    }

    // MARK: Waiting

    /// Waits until the object is readable. Costs no thread; ends with `timedOut` at the deadline, and with
    /// `interrupted` as soon as the task is cancelled.
    package func wait(
        for key: ObjectKey, version: String?, until deadline: ContinuousClock.Instant?
    ) async throws(RestoreError) {
        let identity = Identity(key: key, version: version)
        nextWaiter += 1
        let id = nextWaiter
        let failure: RestoreError? = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard flights[identity] != nil else { return continuation.resume(returning: nil) }
                guard !Task.isCancelled else { return continuation.resume(returning: .interrupted) }
                flights[identity]?.waiters[id] = Waiter(deadline: deadline, continuation: continuation)
                rearm()
            }
        } onCancel: {
            Task { await self.giveUp(identity, id) }
        }
        if let failure { throw failure }
    }

    private func giveUp(_ identity: Identity, _ id: UInt64) {
        flights[identity]?.waiters.removeValue(forKey: id)?.continuation.resume(returning: .interrupted)
    }

    /// Ends the flight: its row is dropped and everybody who waits is told.
    @discardableResult
    private func end(
        _ identity: Identity, with failure: RestoreError?
    ) async -> Result<RestoreReply, RestoreError> {
        let flight = flights.removeValue(forKey: identity)
        for waiter in flight?.waiters.values.map({ $0 }) ?? [] { waiter.continuation.resume(returning: failure) }
        do throws(MetadataError) {
            try await writer.dropRestore(identity.key, version: identity.version)
        } catch {
            log.warning("the ended restore of \(identity.key) stays in the store and is asked about again: \(error)")
        }
        guard let failure else { return .success(.alreadyRestored) }
        return .failure(failure)
    }

    // MARK: Polling

    /// Somebody wants to know now: asks ahead of the schedule, but about one object no more than every two seconds.
    private func lookSoon(_ identity: Identity) {
        guard let flight = flights[identity] else { return }
        flights[identity]?.nextPoll = min(flight.nextPoll, max(clock.now(), flight.lastPoll + .seconds(2)))
        rearm()
    }

    /// Asks about the object ahead of the schedule, if its restore is under way.
    package func look(at key: ObjectKey, version: String?) { lookSoon(Identity(key: key, version: version)) }

    private func schedulePoll(_ identity: Identity) {
        guard var flight = flights[identity] else { return }
        flight.nextPoll = clock.now() + flight.schedule.next(jitter: Double.random(in: 0..<1))
        flights[identity] = flight
        rearm()
    }

    /// Sets the one alarm to the earliest poll or deadline.
    private func rearm() {
        var earliest: ContinuousClock.Instant?
        for flight in flights.values {
            if pollsInFlight < Self.pollsMax, flight.asking == nil, !flight.isPolling {
                earliest = min(earliest ?? flight.nextPoll, flight.nextPoll)
            }
            for waiter in flight.waiters.values {
                if let deadline = waiter.deadline { earliest = min(earliest ?? deadline, deadline) }
            }
        }
        guard let earliest else {
            alarm?.cancel()
            alarm = nil
            alarmTime = nil
            return
        }
        if let alarmTime, alarm != nil, alarmTime <= earliest { return }
        alarm?.cancel()
        alarmTime = earliest
        alarm = Task { [clock] in
            do { try await clock.sleep(earliest) } catch { return }
            self.ring()
        }
    }

    private func ring() {
        alarm = nil
        alarmTime = nil
        let now = clock.now()
        for identity in flights.keys {
            expireWaiters(identity, now)
            guard let flight = flights[identity], flight.asking == nil, !flight.isPolling, flight.nextPoll <= now,
                pollsInFlight < Self.pollsMax
            else { continue }
            pollsInFlight += 1
            flights[identity]?.isPolling = true
            Task {
                await self.poll(identity, flight.number)
                self.pollsInFlight -= 1
                self.rearm()
            }
        }
        rearm()
    }

    private func expireWaiters(_ identity: Identity, _ now: ContinuousClock.Instant) {
        guard let waiters = flights[identity]?.waiters else { return }
        for (id, waiter) in waiters {
            guard let deadline = waiter.deadline, deadline <= now else { continue }
            flights[identity]?.waiters[id] = nil
            waiter.continuation.resume(returning: .timedOut)
        }
    }

    /// Asks for the days that were wished for during the restore.
    private func extend(_ identity: Identity) async {
        guard let row = flights[identity]?.row, let days = row.moreDays else { return }
        do throws(StoreError) {
            _ = try await store.restore(
                row.key, version: row.version, RestoreOrder(days: days, tier: row.order.tier))
            await learned(row.key, row.version, try await store.head(row.key, version: row.version))
        } catch {
            log.warning("\(row.key) is restored, but not for the \(days) days wished for: \(error); ask again with setfattr")
        }
    }

    /// Looks at the object, and ends this flight of it if its restore has ended. `isPolling` is set.
    private func poll(_ identity: Identity, _ number: UInt64) async {
        flights[identity]?.lastPoll = clock.now()
        defer { if flights[identity]?.number == number { flights[identity]?.isPolling = false } }
        let record: ObjectRecord
        do throws(StoreError) {
            record = try await store.head(identity.key, version: identity.version)
        } catch {
            guard error.kind == .noSuchKey else {
                log.warning("cannot ask about the restore of \(identity.key), will again: \(error)")
                return schedulePoll(identity)
            }
            log.warning("\(identity.key) was deleted while it was being restored")
            await learned(identity.key, identity.version, nil)
            guard flights[identity]?.number == number else { return }
            await end(identity, with: .gone)
            return
        }
        await learned(identity.key, identity.version, record)
        guard flights[identity]?.number == number else { return }
        switch context.state(of: record, at: .now()) {
        case .online, .restored:
            log.info("\(identity.key) is restored")
            await extend(identity)
            guard flights[identity]?.number == number else { return }
            await end(identity, with: nil)
        case .restoring:
            flights[identity]?.lostSightings = 0
            schedulePoll(identity)
        case .frozen:
            flights[identity]?.lostSightings += 1
            guard flights[identity]?.lostSightings ?? 0 >= 3 else { return schedulePoll(identity) }
            log.error("the provider ended the restore of \(identity.key) without a readable copy; ask again with setfattr")
            await end(identity, with: .failed("the provider ended the restore without a readable copy"))
        }
    }
}

extension ArchiveContext {
    /// The rules for a restore of which only the class was remembered.
    func rulesForResuming(_ storageClass: StorageClass) -> ArchiveRules {
        storageClass.archiveRules(dialect) ?? .unknown
    }
}
